"""Slicer's scene: segments, tables and plots; never qt or ctk."""
