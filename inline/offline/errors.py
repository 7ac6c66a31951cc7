"""Errors of files of images."""

from inline.data.errors import MyostreamError


class SourceError(MyostreamError):
    """A file of images cannot be used; the message names it and the reason."""
