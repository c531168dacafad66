"""The ways to normalize a scan, from a plain filter to the network."""
