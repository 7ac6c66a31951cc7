"""Base class of the errors that a user, a file or a peer can cause."""


class MyostreamError(Exception):
    """Error with a cause outside the program; the message states what was wrong, where, and what to do."""

    @property
    def message(self) -> str:
        """Message as it was given; ``str`` of the error loses the marks of its foreign parts."""
        return self.args[0] if self.args else ""
