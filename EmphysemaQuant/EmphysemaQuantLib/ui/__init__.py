"""The module panel and the slice views."""
