"""Simulated chest CT pairs: a sharp and a smooth reconstruction of the same object with the same sinogram noise."""
