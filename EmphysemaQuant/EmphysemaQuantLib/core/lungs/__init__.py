"""Segmentation of lungs and airways, and the quality of a lung mask."""
