"""Emphysema indices and their uncertainty."""
