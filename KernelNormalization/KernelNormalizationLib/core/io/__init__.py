"""Files in and out: DICOM, NRRD, MetaImage, NIfTI; padding; atomic writing."""
