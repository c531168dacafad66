"""The panel and the views."""
