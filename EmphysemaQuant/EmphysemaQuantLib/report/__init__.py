"""The report of a measurement, a PDF page and a web page: the same from the panel, the command line and Python."""
