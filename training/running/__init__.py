"""Configuration, log, checkpoints and validation of training runs."""
