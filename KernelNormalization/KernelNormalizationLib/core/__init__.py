"""Numeric core (numpy, torch, SimpleITK); never imports slicer, qt, ctk or vtk."""
