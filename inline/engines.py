"""Which engine runs the network here."""

from __future__ import annotations

import logging
from typing import Final

from inline.errors import ConfigurationError
from inline.settings import EngineName, Settings
from model.engines.base import Engine
from model.engines.torch_engine import TorchEngine
from model.unet import UNet
from model.weights import DEFAULT, WeightsError, load_network

_log = logging.getLogger(__name__)


_ORDER: Final[tuple[EngineName, ...]] = ("openvino-f32", "torch")
"""What ``auto`` tries; the first that loads is taken. Half precision waits for its gate."""


def make_engine(settings: Settings) -> Engine:
    """The engine with its weights.

    Raises:
        ConfigurationError: the weights cannot be used, or the engine that was asked for does not load.
    """
    try:
        network = load_network(settings.weights or DEFAULT)
    except WeightsError as error:
        raise ConfigurationError(str(error)) from error
    if settings.engine != "auto":
        try:
            return _load(settings.engine, network)
        except Exception as error:
            raise ConfigurationError(f"the engine {settings.engine} does not load: {error}") from error
    for name in _ORDER:
        try:
            return _load(name, network)
        except Exception as error:  # an engine that fails is replaced by the next one
            _log.warning("the engine %s does not load, trying the next: %s", name, error)
    raise ConfigurationError("no engine loads")


def _load(name: EngineName, network: UNet) -> Engine:
    if name == "torch":
        return TorchEngine(network)
    from model.engines.openvino_engine import OpenVinoEngine, Precision, convert

    return OpenVinoEngine(convert(network), Precision(name.removeprefix("openvino-")))
