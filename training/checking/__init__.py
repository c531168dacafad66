"""Checks that decide whether a model may ship."""
