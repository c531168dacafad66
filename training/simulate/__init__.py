"""Simulated chest CT pairs: one object, one noise realization, a sharp and a smooth reconstruction of both."""
