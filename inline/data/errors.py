"""Errors that a user, a file or a peer can cause; all derive from :class:`MyostreamError`."""

from model.errors import MyostreamError as MyostreamError


class ProtocolError(MyostreamError):
    """Bytes from a peer that are not the MRD protocol, or exceed one of its stated limits."""


class ConfigurationError(MyostreamError):
    """Unusable setting, settings file or requested configuration."""


class SeriesError(MyostreamError):
    """Images that do not form a mapping series that can be fitted (missing times, too few, mixed shapes)."""


class DicomError(MyostreamError):
    """A DICOM file cannot be used; the message names it and the reason."""


class SourceError(MyostreamError):
    """A file of images cannot be used; the message names it and the reason."""


class CohortError(MyostreamError):
    """A cohort cannot be processed: its folders, its cluster, or a worker that does not fit."""
