"""Errors of a cohort."""

from inline.data.errors import MyostreamError


class CohortError(MyostreamError):
    """A cohort cannot be processed: its folders, its cluster, or a worker that does not fit."""
