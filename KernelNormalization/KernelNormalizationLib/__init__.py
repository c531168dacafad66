"""Kernel normalization of chest CT: numeric core, MRML logic and Slicer widget."""
