"""The report of a measurement as web page and PDF, the same from the panel, the command line and Python."""
