# A real build includes UseSlicer here; the macros are already defined in SlicerConfig.cmake.
