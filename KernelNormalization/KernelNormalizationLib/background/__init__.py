"""Long computations outside the GUI thread: the normalization process and worker threads."""
