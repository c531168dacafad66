"""Reconstruction kernels: what they pass at each frequency, and what a scan's own noise tells of them."""
