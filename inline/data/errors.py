"""What a user, a file or a peer can get wrong: every such error derives from :class:`MyostreamError`."""

from model.errors import MyostreamError as MyostreamError


class ProtocolError(MyostreamError):
    """A peer sent bytes that are not the MRD protocol, or exceed one of its stated limits."""


class ConfigurationError(MyostreamError):
    """A setting, a settings file or a requested configuration cannot be used."""


class SeriesError(MyostreamError):
    """Images do not form a mapping series that can be fitted (missing times, too few, mixed shapes)."""
