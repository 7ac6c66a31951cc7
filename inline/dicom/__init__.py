"""DICOM: images in, results out, and the node between a scanner and an archive."""
