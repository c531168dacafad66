"""Self tests that run inside Slicer and under pytest."""
