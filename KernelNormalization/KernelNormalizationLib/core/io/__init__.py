"""Reading and writing files: DICOM, NRRD, MetaImage, NIfTI; padding; atomic writing."""
