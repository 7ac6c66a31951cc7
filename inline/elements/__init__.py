"""Attributes, scales of pixels and times in DICOM headers, as files or as JSON."""
