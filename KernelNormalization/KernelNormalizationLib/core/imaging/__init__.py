"""Operations on images that know nothing of kernels or lungs."""
