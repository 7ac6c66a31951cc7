"""What a user, a file or a peer can get wrong: every such error derives from :class:`MyostreamError`."""


class MyostreamError(Exception):
    """Base of all errors whose cause lies outside the program; it says what, where and what to do."""

    @property
    def message(self) -> str:
        """The message as it was given: ``str`` of the error forgets which parts of it are foreign."""
        return self.args[0] if self.args else ""


class ProtocolError(MyostreamError):
    """A peer sent bytes that are not the MRD protocol, or exceed one of its stated limits."""


class ConfigurationError(MyostreamError):
    """A setting, a settings file or a requested configuration cannot be used."""


class SeriesError(MyostreamError):
    """Images do not form a mapping series that can be fitted (missing times, too few, mixed shapes)."""
