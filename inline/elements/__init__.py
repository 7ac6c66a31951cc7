"""What DICOM headers state, as files or as JSON: attributes of a frame, scale of its pixels, times."""
