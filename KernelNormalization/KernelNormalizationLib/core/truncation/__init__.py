"""The HU floor: finding it, estimating how the scanner truncated the images, and restoring the lost HU."""
