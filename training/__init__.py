"""Simulated paired reconstructions, network training and evaluation; never imported by the Slicer modules."""
