"""Simulation of paired reconstructions, training of networks, and evaluation; the Slicer modules never import it."""
