"""Checks that decide whether a model may be released."""
