"""Slicer's scene: volume nodes, provenance, sample data; never qt or ctk."""
