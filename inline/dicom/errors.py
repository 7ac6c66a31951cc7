"""Errors of DICOM files."""

from inline.data.errors import MyostreamError


class DicomError(MyostreamError):
    """A DICOM file cannot be used; the message names it and the reason."""
