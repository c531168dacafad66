"""The measurement, its tables and its texts."""
