"""Which engine runs the network here."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from inline.errors import ConfigurationError
from inline.settings import EngineName, Settings
from model.engines.base import Engine
from model.engines.chain import EngineChain, NoEngineError
from model.engines.torch_engine import TorchEngine
from model.unet import UNet
from model.weights import DEFAULT, WeightsError, load_network

_ORDER: Final[tuple[EngineName, ...]] = ("openvino-int8", "openvino-f32", "torch")
"""What ``auto`` tries in turn, and what follows an engine that fails; eight bits only once they passed the
gate (``myostream calibrate``)."""


def make_engine(settings: Settings) -> EngineChain:
    """The engine that was asked for, those that replace it behind it.

    Raises:
        ConfigurationError: the weights cannot be used, or no engine loads.
    """
    try:
        weights = settings.weights or DEFAULT
        network = load_network(weights)
    except WeightsError as error:
        raise ConfigurationError(str(error)) from error
    names = _ORDER if settings.engine == "auto" else (settings.engine, *_ORDER)
    try:
        return EngineChain([(name, partial(_load, name, network, weights)) for name in dict.fromkeys(names)])
    except NoEngineError as error:
        raise ConfigurationError(str(error)) from error


def _load(name: EngineName, network: UNet, weights: Path) -> Engine:
    if name == "torch":
        return TorchEngine(network)
    from model.engines.openvino_engine import OpenVinoEngine, Precision
    from model.engines.store import EngineKey, EngineStore

    precision = Precision(name.removeprefix("openvino-"))
    if precision is Precision.INT8:
        model = EngineStore().find_passed(EngineKey.of(weights, "int8"))
        if model is None:
            raise RuntimeError("not calibrated on this host (run: myostream calibrate)")
        return OpenVinoEngine(model, precision)
    return OpenVinoEngine(network, precision)
