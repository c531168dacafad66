"""Reconstruction kernels: their transfer functions, their names, and how to recognise them from the noise of a scan."""
