"""Base class of the errors that a user, a file or a peer can cause."""


class MyostreamError(Exception):
    """Its cause lies outside the program; the message says what was wrong, where, and what to do."""

    @property
    def message(self) -> str:
        """The message as it was given: ``str`` of the error forgets which parts of it are foreign."""
        return self.args[0] if self.args else ""
