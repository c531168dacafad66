"""Lung mask, emphysema mask and indices (numpy, SimpleITK); never imports slicer, qt, ctk or vtk."""
