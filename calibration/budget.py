"""Latency budget of this host, from times of the stages of a slice, alone and under load."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from inline.assembly.assembled import Assembled
from inline.assembly.assembler import SeriesAssembler
from inline.data.errors import MyostreamError
from inline.data.results import SliceResult
from inline.emit import mrd
from inline.mrd.header import parse_header
from inline.mrd.protocol import encode
from inline.replay.simulate import header_xml, simulate_examination, to_images
from inline.serving.scheduler import Scheduler
from inline.serving.service import service
from inline.settings import AssemblySettings, Settings
from inline.terminal.tables import print_values
from inline.terminal.text import print_lines
from model.host import describe_host
from model.output import write_json, write_text

_UNLIMITED_MS: Final = 600_000.0
_STEP_MS: Final = 50.0
_HEARTS: Final = 4
_WARM_UP: Final = 2


def simulated_slices(size: int = 256) -> list[Assembled]:
    """Return complete series of a simulated study, MOLLI and T2-prep in turn, ``size`` x ``size`` pixels."""
    hearts = simulate_examination(_HEARTS, seed=3, size=size)
    assembler = SeriesAssembler(parse_header(header_xml(hearts)), AssemblySettings(motion="both"))
    made = [ready for image in to_images(hearts) for ready in assembler.add(image, time.monotonic())]
    return made + assembler.finish(early=False)


def time_stages(
    scheduler: Scheduler, slices: Sequence[Assembled], count: int, connections: int, settings: Settings
) -> dict[str, list[float]]:
    """Return the times of each stage of ``count`` slices, ms.

    Each connection submits its next slice after the result of the one before, so there are always as many
    slices in work as connections. ``total`` runs from a slice's last image to its encoded results.

    Args:
        scheduler: with a budget that no slice misses.
        slices: submitted in turn.
        count: number of slices to time, at least 2.
        connections: number of slices in work at once.
        settings: of the output.

    Raises:
        MyostreamError: a slice could not be processed.
    """

    def process(number: int) -> dict[str, float]:
        finished: Future[dict[str, float]] = Future()
        assembled = replace(slices[number % len(slices)], arrived=time.monotonic())

        def deliver(result: SliceResult, *, latecomer: bool) -> None:
            if result.error:
                finished.set_exception(MyostreamError(f"a slice could not be processed: {result.error}"))
                return
            start = time.monotonic()
            for image in mrd.images(result, assembled.template, settings.emit):
                encode(image)
            end = time.monotonic()
            emit, total = (end - start) * 1000.0, (end - assembled.arrived) * 1000.0
            finished.set_result({**result.times_ms, "emit": emit, "total": total})

        scheduler.submit(assembled, deliver)
        return finished.result()

    with ThreadPoolExecutor(connections) as pool:
        times = list(pool.map(process, range(count)))
    return {stage: [each[stage] for each in times if stage in each] for stage in {**times[0], **times[1]}}


def proposed_ms(loaded_total: Sequence[float], margin: float) -> float:
    """Return the 99th percentile plus a margin, in full steps of 50 ms."""
    p99 = float(np.quantile(np.array(loaded_total), 0.99, method="higher"))
    return math.ceil(p99 * (1.0 + margin) / _STEP_MS) * _STEP_MS


def measure(settings: Settings, count: int, connections: int, margin: float = 1.0) -> dict[str, Any]:
    """Return times of the stages, one slice at a time and under load, and the proposed budget.

    Raises:
        MyostreamError: no engine loads, or a slice could not be processed.
    """
    slices = simulated_slices()
    unlimited = settings.model_copy(update={"budget_ms": _UNLIMITED_MS})
    with service(unlimited, address_may_be_taken=True) as made:
        engine = made.engine.name
        time_stages(made.scheduler, slices, _WARM_UP, 1, settings)
        idle = time_stages(made.scheduler, slices, count, 1, settings)
        loaded = time_stages(made.scheduler, slices, count, connections, settings)
    return {
        "host": describe_host(),
        "engine": engine,
        "workers": settings.workers,
        "slices": count,
        "connections": connections,
        "idle_ms": {name: _summary(values) for name, values in idle.items()},
        "loaded_ms": {name: _summary(values) for name, values in loaded.items()},
        "margin": margin,
        "proposed_ms": proposed_ms(loaded["total"], margin),
    }


def _summary(values: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.quantile(np.array(values), [0.5, 0.99], method="higher")
    return {"p50": float(p50), "p99": float(p99), "max": float(max(values))}


def settings_text(figures: dict[str, Any]) -> str:
    """Return the proposed budget as a settings file with the host and the figures."""
    host = figures["host"]
    return (
        f"# myostream calibrate budget: {host['processor']}, {host['cores']} cores, {figures['engine']}, "
        f"{figures['workers']} workers.\n"
        f"# 99th percentile of {figures['slices']} slices, {figures['connections']} at once: "
        f"{figures['loaded_ms']['total']['p99']:.0f} ms; {figures['margin']:.0%} above it:\n"
        f"budget_ms = {figures['proposed_ms']:.0f}\n"
    )


def show(figures: dict[str, Any], json_file: Path | None, output: Path | None) -> None:
    """Write the files, and print the table and the proposal.

    Raises:
        OutputError: a file cannot be written.
    """
    # Files before the terminal, which may be a pipe that nobody reads any more.
    if json_file is not None:
        write_json(json_file, figures)
    if output is not None:
        write_text(output, settings_text(figures))
    loaded = f"{figures['connections']}_at_once"
    rows = {
        stage: {"alone": figures["idle_ms"][stage], loaded: times}
        for stage, times in figures["loaded_ms"].items()
    }
    columns = ", ".join(f"{load}/{key} .1f" for load in ("alone", loaded) for key in ("p50", "p99", "max"))
    title = f"Stages of a slice, ms, {figures['slices']} slices, engine {figures['engine']}"
    print_values(title, "stage", rows, columns)
    print_lines(settings_text(figures))
    if output is not None:
        print_lines(f"Use it with --settings {output}")
