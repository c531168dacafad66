"""Evaluation of normalization methods on paired reconstructions, following the protocol of the B80f to B20f study."""
