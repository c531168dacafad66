"""Runs the modules' code without the desktop application; see README.md in this folder for what that proves."""
