"""A seeded generator of bad and odd inputs, judged against independent readers: ``python -m Testing.robustness``."""
