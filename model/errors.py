"""Base class of the errors that a user, a file or a peer can cause."""


class MyostreamError(Exception):
    """Its cause lies outside the program; the message says what was wrong, where, and what to do."""
