"""Cohort of small simulated examinations with one and with two workers, and with one that is killed."""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.values import draw_curves, write_results
from bench.watched import usage
from inline.cohort.cluster import connected, process_all
from inline.cohort.discover import discover
from inline.cohort.provenance import CohortProvenance
from inline.cohort.store import Store
from inline.cohort.task import CohortTask, TaskOutcome
from inline.cohort.worker import PipelinePlugin
from inline.engine_selection import build_pipeline
from inline.mrd.files import write_images
from inline.mrd.messages import Image
from inline.pipeline import Pipeline
from inline.replay.simulate import MOLLI_SERIES, header_xml, simulate_examination, to_images
from inline.settings import Settings, load_settings
from inline.terminal.tables import print_columns
from inline.terminal.text import print_lines

RUNS: Final = {"one worker": (1, False), "two workers": (2, False), "two, one killed": (2, True)}
"""Workers of each run, and whether one of them is killed after a third of the examinations."""
_HEARTS: Final = 8
"""Simulated hearts; further examinations repeat them with noise of their own."""
_PIXELS: Final = 96
_NOISE: Final = 20.0
"""Standard deviation of the noise that is added, pixel values of 12 bits."""
_TIMEOUT_S: Final = 900.0
_SAMPLES: Final = 40
_SETTLED: Final = 0.2
"""Share of the examinations after which a worker's memory is compared with its end."""
_GROWTH: Final = 1.05
_COLUMNS: Final = (
    "start_s .1f, seconds .1f, per_second .2f, outcomes, missing, twice, failures, slices, "
    "memory/settled .0f, memory/end .0f"
)


def write_cohort(folder: Path, examinations: int) -> None:
    """Write examinations of one MOLLI slice of 96 x 96 pixels, each with images of its own."""
    hearts = []
    for seed in range(_HEARTS):
        slices = simulate_examination(1, seed=seed + 1, size=_PIXELS)
        molli = [each for each in to_images(slices) if each.header.image_series_index == MOLLI_SERIES]
        hearts.append((header_xml(slices), molli))
    for number in range(examinations):
        header, images = hearts[number % _HEARTS]
        random = np.random.default_rng(number)
        write_images(folder / f"{number:05d}.h5", header, [_noisy(image, random) for image in images])


def _noisy(image: Image, random: np.random.Generator) -> Image:
    pixels = image.pixels.astype(np.float64) + random.normal(0.0, _NOISE, image.pixels.shape)
    return Image.from_pixels(pixels.clip(0, 4095).astype(np.uint16), image.header, image.meta())


def measure(
    examinations: int, engine: str = "auto", build: Callable[[], Pipeline] | None = None
) -> dict[str, Any]:
    """Process the same cohort by each of :data:`RUNS`, with one inference thread a worker.

    Args:
        examinations: of the cohort.
        engine: of the product.
        build: makes the pipeline of a worker; None for that of the engine.

    Returns:
        ``runs`` by name, ``ratio`` of the throughputs of two workers and one, ``identical``: all files of
        results have the same bytes in every run; ``load``: of this host before the runs.
    """
    settings = load_settings(engine=engine)
    made = build or partial(build_pipeline, settings, threads=1)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        write_cohort(root, examinations)
        runs = {name: _run(root, Path(folder) / name, settings, made, *how) for name, how in RUNS.items()}
    one, two, _ = (run["per_second"] for run in runs.values())
    return {
        "engine": engine,
        "examinations": examinations,
        "load": load,
        "runs": runs,
        "ratio": two / one,
        "identical": len({run["digest"] for run in runs.values()}) == 1,
    }


def _run(
    root: Path, out: Path, settings: Settings, build: Callable[[], Pipeline], workers: int, killed: bool
) -> dict[str, Any]:
    """Process a cohort.

    Returns:
        ``start_s``: until the first examination is processed, with the start of the workers; ``seconds``:
        from then to the last one; ``per_second``; ``outcomes``, ``missing``, ``twice``, ``failures`` and
        ``slices`` as counts; ``samples``: examinations processed and megabytes of each worker by its process;
        ``memory``: of the worker that has grown most, once settled and at the end; ``digest`` of all results;
        ``engines``: number of results by the engine that made them.
    """
    task = CohortTask(settings, CohortProvenance.of(settings), out)
    found = discover(root).examinations
    store, counts = Store(out), Counter[str]()
    store.begin(root, task.provenance, settings)
    samples: list[dict[str, Any]] = []
    pids: dict[str, int] = {}
    start = time.monotonic()
    first = last = start
    with connected(workers) as client:

        def done(outcome: TaskOutcome) -> None:
            nonlocal first, last
            last = time.monotonic()
            first = last if not counts else first
            counts[outcome.key] += 1
            if counts.total() % max(len(found) // _SAMPLES, 1) == 0 or counts.total() == len(found):
                pids.update(client.run(os.getpid, on_error="ignore"))
                held = {pid: usage(pid) for pid in set(pids.values())}
                megabytes = {str(pid): each["megabytes"] for pid, each in held.items() if each}
                samples.append({"processed": counts.total(), "megabytes": megabytes})
            if killed and counts.total() == max(len(found) // 3, 1):
                os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

        process_all(client, found, PipelinePlugin(task, build, _TIMEOUT_S), done)
    summary = store.finish(found, task.provenance)
    seconds = last - first
    settled = next(each for each in samples if each["processed"] >= _SETTLED * len(found))
    return {
        "start_s": first - start,
        "seconds": seconds,
        "per_second": (len(found) - 1) / seconds,
        "outcomes": counts.total(),
        "missing": sum(each.key not in counts for each in found),
        "twice": sum(number > 1 for number in counts.values()),
        "failures": len(summary.failures),
        "slices": summary.slices,
        "engines": summary.engines,
        "samples": samples,
        "memory": _memory(settled, samples[-1]),
        "digest": _digest(out),
    }


def _memory(settled: dict[str, Any], end: dict[str, Any]) -> dict[str, float]:
    """Return the megabytes of the worker that has grown most among those that lived all the time."""
    before, after = settled["megabytes"], end["megabytes"]
    grown = max(before.keys() & after.keys(), key=lambda pid: after[pid] / before[pid])
    return {"settled": before[grown], "end": after[grown]}


def _digest(out: Path) -> str:
    digest = hashlib.sha256()
    for file in (*sorted((out / "examinations").glob("*.json")), *sorted(out.glob("values.*"))):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def show(results: dict[str, Any], json_file: Path | None, plot: Path | None) -> bool:
    """Write values and plot, print the table; return whether everything held."""
    runs = results["runs"]
    write_results(json_file, results)
    draw_curves(
        plot, [("examinations", "MB", {f"{name}, {pid}": curve for name, pid, curve in _curves(runs)})]
    )
    engines = ", ".join(sorted({name for run in runs.values() for name in run["engines"]}))
    title = f"{results['examinations']} examinations of one slice, engine {engines}"
    print_columns(title, runs, _COLUMNS)
    growth = {name: run["memory"]["end"] / run["memory"]["settled"] for name, run in runs.items()}
    print_lines(
        f"two workers process {results['ratio']:.2f} times as many examinations a second as one",
        f"files of results are {'the same' if results['identical'] else 'NOT the same'} in all runs",
        "memory of a worker: "
        + ", ".join(f"{100 * each - 100:+.1f} % ({name})" for name, each in growth.items()),
        f"load of this host before the runs: {results['load']:.1f}",
    )
    whole = all(not run[each] for run in runs.values() for each in ("missing", "twice", "failures"))
    return whole and results["identical"] and max(growth.values()) <= _GROWTH


def _curves(runs: dict[str, Any]) -> list[tuple[str, str, tuple[list[float], list[float]]]]:
    """Return the memory of each worker process over the examinations, by run and process."""
    curves = []
    for name, run in runs.items():
        for pid in sorted({pid for each in run["samples"] for pid in each["megabytes"]}):
            points = [
                (each["processed"], each["megabytes"][pid])
                for each in run["samples"]
                if pid in each["megabytes"]
            ]
            curves.append((name, pid, ([x for x, _ in points], [y for _, y in points])))
    return curves
