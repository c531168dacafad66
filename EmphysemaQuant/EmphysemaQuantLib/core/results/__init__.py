"""The one measurement, and how its numbers are laid out."""
