"""Engines of a GPU beside eager torch and ``torch.compile``: ``python -m bench.gpu [--json FILE]``.

Times include the transfer of the slices to the GPU and of the probabilities back. ``myostream engines``
measures the engines of the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from bench.engines import in_turns
from bench.values import percentiles, write_results
from calibration.gate import run_gate
from calibration.slices import map_slices
from inline.cli.errors import report_errors
from inline.cli.options import JsonFile
from inline.engine_selection import ON_GPU, load_engine, preferred, weights_of
from inline.settings import Settings
from inline.terminal.tables import print_values
from inline.terminal.text import print_lines
from model.engines.base import Engine
from model.engines.gpu import LARGEST_BATCH, describe_gpu, require_gpu
from model.engines.probabilities import HalfProbabilities
from model.engines.self_test import Reference, run_self_test, self_test_images
from model.engines.torch_engine import TorchEngine
from model.frame import FRAME_PIXELS
from model.unet import UNet
from model.weights import network_of

EAGER: Final = "torch eager, float32"
GOAL_MS: Final = 1.0
GOAL_PER_SECOND: Final = 5000.0
_BATCHES: Final = f"1,2,4,8,16,{LARGEST_BATCH}"


class CompiledTorch:
    """``torch.compile`` in float16, channels last, with CUDA graphs."""

    name = "torch.compile, float16"

    def __init__(self, network: UNet, device: torch.device) -> None:
        module = HalfProbabilities(network).to(device)
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device
        self._module = torch.compile(module.eval(), mode="reduce-overhead", dynamic=False)

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :meth:`model.engines.base.Engine.infer`."""
        with torch.inference_mode():
            output: NDArray[np.float32] = (
                self._module(torch.from_numpy(images)[:, None].to(self._device)).cpu().numpy()
            )
        return output


def contenders(device: torch.device) -> Iterator[tuple[str, Callable[[], Engine]]]:
    """Yield name and maker of each engine, the reference first."""
    tensors, weights = weights_of(Settings())
    yield EAGER, lambda: TorchEngine(network_of(tensors).to(device))
    yield CompiledTorch.name, lambda: CompiledTorch(network_of(tensors), device)
    for name in preferred():
        if name in ON_GPU:
            yield name, lambda name=name: load_engine(name, tensors, weights)  # type: ignore[misc]


def measure(
    makers: Sequence[tuple[str, Callable[[], Engine]]], batches: Sequence[int], repeats: int, gate: int = 0
) -> dict[str, Any]:
    """Time the engines, in turns, for each batch size.

    Args:
        makers: as of :func:`contenders`; the first is the reference.
        batches: slices in a batch.
        repeats: inferences of each engine and batch size.
        gate: slices on which the gate compares the engines with the reference; 0 for none.

    Returns:
        ``engines``: batch sizes and the ``gate``'s report by name; ``missing``: reasons of the engines that
        do not run.
    """
    images = np.resize(self_test_images(), (max(2, *batches), FRAME_PIXELS, FRAME_PIXELS))
    expected: Reference | None = None
    engines: dict[str, Engine] = {}
    missing: dict[str, str] = {}
    for name, make in makers:
        try:
            engine = make()
            expected = expected or Reference(images[:2], engine.infer(images[:2]))
            run_self_test(engine, expected)
            for batch in batches:
                engine.infer(images[:batch])
        except Exception as error:  # any error is the reason why this engine does not run
            missing[name] = f"{type(error).__name__}: {error}"
        else:
            engines[name] = engine
    rows: dict[str, dict[str, Any]] = {name: {"batches": {}} for name in engines}
    for batch in batches:
        for name, times in in_turns(engines, [images[:batch]], repeats).items():
            found = percentiles(times)
            rows[name]["batches"][str(batch)] = {**found, "per_second": 1000.0 * batch / found["p50"]}
    if gate:
        reference_name, reference = next(iter(engines.items()))
        for name, engine in engines.items():
            if name != reference_name:
                rows[name]["gate"] = asdict(run_gate(engine, reference, map_slices(gate)))
    return {"engines": rows, "missing": missing}


def show(figures: Mapping[str, Any]) -> None:
    """Print the measurement."""
    rows = figures["engines"]
    reference = next(iter(rows.values()))["batches"]
    first, *_ = reference
    columns = f"batches/{first}/p50 .2f, batches/{first}/p99 .2f, faster_than_eager .2f"
    columns += "".join(f", batches/{each}/per_second .1f" for each in reference)
    against = {name: reference[first]["p50"] / row["batches"][first]["p50"] for name, row in rows.items()}
    title = f"{figures['gpu']}: {figures['repeats']} inferences of each; times of a batch of {first}"
    print_values(
        title,
        "engine",
        {name: {**row, "faster_than_eager": against[name]} for name, row in rows.items()},
        columns,
    )
    lines = [f"does not run: {name}: {reason}" for name, reason in figures["missing"].items()]
    for name, row in rows.items():
        if "gate" in row:
            report = row["gate"]
            result = "passed" if report["passed"] else "missed: " + "; ".join(report["reasons"])
            lines.append(f"gate, {name}, {report['slices']} slices: {result}")
    fastest = min(row["batches"][first]["p50"] / int(first) for row in rows.values())
    most = max(each["per_second"] for row in rows.values() for each in row["batches"].values())
    goals = f"goals: {fastest:.2f} of at most {GOAL_MS:g} ms a slice; "
    print_lines(*lines, f"{goals}{most:.0f} of at least {GOAL_PER_SECOND:.0f} slices a second")


def main(
    json_file: JsonFile = None,
    batches: Annotated[str, typer.Option(help="Batch sizes.")] = _BATCHES,
    repeats: Annotated[int, typer.Option(min=1, help="Inferences of each.")] = 200,
    gate: Annotated[int, typer.Option(min=0, help="Slices for the gate; 0 leaves it out.")] = 0,
) -> None:
    """Latency and throughput of the network on a GPU, by batch size."""
    device = require_gpu()
    sizes = [int(each) for each in batches.split(",")]
    about = {"gpu": describe_gpu(device), "repeats": repeats}
    figures = {**about, **measure(list(contenders(device)), sizes, repeats, gate)}
    write_results(json_file, figures)
    show(figures)


if __name__ == "__main__":
    with report_errors(RuntimeError):
        typer.run(main)
