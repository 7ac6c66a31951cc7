"""Results as DICOM objects by highdicom: parametric map, segmentation, structured report, capture."""
