"""Which engine runs the network here."""

from __future__ import annotations

from inline.errors import ConfigurationError
from inline.settings import Settings
from model.engines.base import Engine
from model.engines.torch_engine import TorchEngine
from model.weights import DEFAULT, WeightsError, load_network


def make_engine(settings: Settings) -> Engine:
    """The engine with its weights.

    Raises:
        ConfigurationError: the weights cannot be used.
    """
    try:
        return TorchEngine(load_network(settings.weights or DEFAULT))
    except WeightsError as error:
        raise ConfigurationError(str(error)) from error
