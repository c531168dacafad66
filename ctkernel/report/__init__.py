"""The report of a measurement: page, PDF, tables, figures."""
