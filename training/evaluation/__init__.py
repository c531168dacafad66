"""Evaluation of normalization methods on paired reconstructions, after the protocol of the B80f to B20f study."""
