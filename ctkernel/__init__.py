"""The product without the desktop application: command line, demo and figures."""
