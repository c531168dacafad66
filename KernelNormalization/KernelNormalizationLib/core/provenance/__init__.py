"""Records of how files came about: one form for volumes and measurements, and hashes that tie record and file together."""
