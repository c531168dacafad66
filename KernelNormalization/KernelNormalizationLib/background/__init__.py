"""Work that takes seconds, away from the thread that draws the window."""
