"""General operations on images, independent of kernels and lungs."""
