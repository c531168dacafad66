"""Lungs, airways, and how far a lung mask can be trusted."""
