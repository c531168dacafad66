"""The HU floor: how a scanner cuts images off from below, and what can be said of the values that it took."""
