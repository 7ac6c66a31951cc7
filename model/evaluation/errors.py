"""Errors of labelled cases."""

from model.errors import MyostreamError


class CaseError(MyostreamError):
    """A folder of labelled cases cannot be used; the message names the file and the reason."""


class NothingFoundError(CaseError):
    """A folder holds no labelled maps of a kind."""
