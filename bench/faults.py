"""Campaign of faults against live servers, as a table: ``python -m bench.faults``.

Each fault has a server process of its own and a good client beside it, whose originals are compared message
by message (``docs/reliability.md``).
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bench import attacks
from bench.attacks import Observation, Target
from bench.values import percentiles, write_results
from bench.watched import Address, ClientTally, Measurement, usage
from inline.cli.errors import report_errors
from inline.cli.options import JsonFile
from inline.replay.local_server import started_server
from inline.terminal.tables import print_values
from inline.terminal.text import print_lines
from model.processes import fresh_processes

_STALLED_S: Final = 4.0
"""Shorter than the default of 60 s, so that the table takes minutes."""
_ALONE_S: Final = 8.0
"""Time of the good client alone before an attack, after one cold measurement. In one second it sends a dozen
measurements, too few for a 99th percentile."""
_MOST_MB: Final = 2500.0
_SLOWER: Final = 1.2
_SLOWER_UNDER_LOAD: Final = 2.0
_COLUMNS: Final = "promise s, seen s, lost, sent, p99_ratio .2f, peak_MB .0f, exit, holds s"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        name: in the table.
        promise: what must hold besides what must always hold.
        attack: acts on the server.
        seconds: approximate duration.
        load: whether the attack loads processor or network, so that others may become twice as slow.
        beside: whether a good client sends meanwhile.
        arguments: further options of ``serve``.
    """

    name: str
    promise: str
    attack: Callable[[Target], Observation]
    seconds: float = 8.0
    load: bool = False
    beside: bool = True
    arguments: tuple[str, ...] = ()


_ZMQ: Final = ("--zmq", "tcp://127.0.0.1:*")
_PATIENT: Final = ("--budget-ms", "120000")
FAULTS: Final = (
    Fault("comments against regular expressions", "images pass at once", attacks.texts, load=True),
    Fault("XML entities, UTF-8 and UTF-16", "images pass at once", attacks.entities, load=True),
    Fault("half surrogate pairs", "ZeroMQ goes on", attacks.surrogates, load=True, arguments=_ZMQ),
    Fault("large XML", "images pass", attacks.large_texts, load=True),
    Fault("series that only grows, 2048 x 2048", "images pass", attacks.growing_series, 15.0, load=True),
    Fault("fits of 8192 x 8192", "images pass; result or message", attacks.huge_fits, load=True),
    Fault("peers that read nothing", "disconnected", attacks.mute_peers, 20.0, load=True),
    Fault("1 byte a second", "disconnected", attacks.slow_peers, 20.0),
    Fault("16 idle peers", "the 17th gets a message; logged", attacks.idle_peers, 5.0, beside=False),
    Fault("resets in an image", "the server goes on", attacks.resets, load=True),
    Fault("nonsense, HTTP, TLS, DICOM", "refused", attacks.nonsense),
    Fault("announced lengths", "refused in a message", attacks.announced),
    Fault("200 clients at once", "all served", attacks.crowd, beside=False, load=True, arguments=_PATIENT),
    Fault("deep JSON", "images pass at once", attacks.deep_json, load=True),
    Fault("flood of texts", "log grows by less than 1 MB", attacks.text_flood, load=True),
    Fault("SIGTERM in a measurement", "images come back with a message", attacks.termination, beside=False),
    Fault("slow reader after an error", "finished results arrive", attacks.unread, load=True),
    Fault("starts and stops of the Gadgetron module", "code 0", attacks.module_runs, beside=False),
)


def _lower_priority() -> None:
    """Lower the priority of this thread and of those that it starts: a real attacker has another host."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)


def _send(address: Address, measurement: Measurement, seconds: float, over: threading.Event) -> ClientTally:
    """Send measurements for some seconds, at most until the attack is over; at least one."""
    tally, end = ClientTally(), time.monotonic() + seconds
    while not tally.measurements or (time.monotonic() < end and not over.is_set()):
        tally.send(address, measurement)
    return tally


def run(fault: Fault, measurement: Measurement, *, scale: float = 1.0) -> dict[str, Any]:
    """Run one fault against a server of its own.

    Args:
        fault: to run.
        measurement: of the good client.
        scale: factor on the durations.

    Returns:
        ``name`` and ``promise`` of the fault; ``seen``: observation of the attack; ``broken``: names of what
        does not hold; ``seconds``: duration in all. Of the good client before, during and after the attack:
        images ``sent`` and ``lost`` (not returned bit-exact), maps flagged ``late``, durations of its
        measurements ``before_s`` and ``during_s``, and ``slower``: largest allowed ratio of their 99th
        percentiles. Of the server: ``peak_mb``, largest resident memory (None where it died), and ``code``,
        exit code (None where it had to be killed).
    """
    start = time.monotonic()
    alone, beside, after = ClientTally(), ClientTally(), ClientTally()
    with (
        tempfile.NamedTemporaryFile("w", suffix=".toml") as settings,
        # The good client has a process of its own, which the work of the attacker must not slow down.
        get_context("spawn").Manager() as manager,
        fresh_processes(1) as client,
    ):
        settings.write(f"[server]\nstalled_s = {_STALLED_S}\n")
        settings.flush()
        over = manager.Event()
        with started_server(["--settings", settings.name, *fault.arguments]) as server:
            alone.send(server.address, measurement)
            if fault.beside:
                alone = client.submit(_send, server.address, measurement, _ALONE_S * scale, over).result()
                during = client.submit(_send, server.address, measurement, math.inf, over)
            try:
                with ThreadPoolExecutor(1, initializer=_lower_priority) as attacker:
                    target = Target(server, measurement, fault.seconds * scale, _STALLED_S)
                    seen = attacker.submit(fault.attack, target).result()
            except Exception as error:
                seen = Observation(f"the attack broke off: {type(error).__name__}: {error}"[:160], False)
            over.set()
            if fault.beside:
                beside = during.result()
            if fault.attack is not attacks.termination:
                after.send(server.address, measurement)
            died = server.process.poll() not in (None, 0)
            used = usage(server.process.pid)
            code = server.stop()
            tracebacks = server.log_text().count("Traceback")
    whole = alone + beside + after
    checks = {
        "the fault's own promise": not seen.holds,
        "images lost": bool(whole.lost or whole.disordered),
        "the good client broke off": bool(whole.problems),
        "the server died": died,
        f"exit code {code}": code != 0,
        f"{tracebacks} tracebacks in the log": tracebacks > 0,
        "memory": used is not None and used["peak_mb"] > _MOST_MB,
    }
    return {
        "name": fault.name,
        "promise": fault.promise,
        "seen": seen.text,
        "sent": whole.sent,
        "lost": whole.lost,
        "before_s": alone.seconds if fault.beside else [],
        "during_s": beside.seconds,
        "slower": _SLOWER_UNDER_LOAD if fault.load else _SLOWER,
        "late": whole.late,
        "peak_mb": None if used is None else used["peak_mb"],
        "code": code,
        "broken": [name for name, is_broken in checks.items() if is_broken],
        "seconds": time.monotonic() - start,
    }


def with_ratios(outcomes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare the good client's durations during each attack with those before all attacks together.

    Some ninety measurements fit into an attack. The 99th percentile of as few before it would be the slowest
    of them by chance.

    Returns:
        The outcomes with ``ratio`` of the 99th percentiles, None without either, and with percentiles in
        place of the durations.
    """
    before = percentiles([each for outcome in outcomes for each in outcome["before_s"]])
    compared = []
    for outcome in outcomes:
        during = percentiles(outcome["during_s"])
        ratio = during["p99"] / before["p99"] if during and before else None
        slow = ["others slowed down"] if ratio is not None and ratio > outcome["slower"] else []
        compared.append(
            {
                **outcome,
                "before_s": percentiles(outcome["before_s"]),
                "during_s": during,
                "ratio": ratio,
                "broken": outcome["broken"] + slow,
            }
        )
    return compared


def show(outcomes: Sequence[dict[str, Any]], json_file: Path | None) -> None:
    """Write the values and print the table."""
    write_results(json_file, {"faults": list(outcomes)})
    title = f"Faults (always: no image lost, exit code 0, at most {_MOST_MB:.0f} MB)"
    rows = {
        each["name"]: {
            **each,
            "p99_ratio": each["ratio"],
            "peak_MB": each["peak_mb"],
            "exit": "killed" if each["code"] is None else each["code"],
            "holds": f"NO: {', '.join(each['broken'])}" if each["broken"] else "yes",
        }
        for each in outcomes
    }
    print_values(title, "fault", rows, _COLUMNS)
    lost, sent, seconds = (sum(each[name] for each in outcomes) for name in ("lost", "sent", "seconds"))
    held = sum(not each["broken"] for each in outcomes)
    lines = f"{held} of {len(outcomes)} hold; {lost} of {sent} images of good clients lost; {seconds:.0f} s"
    print_lines(lines)


def main(
    only: Annotated[list[str] | None, typer.Option(help="Faults whose name contains this.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Run every fault against a live server; exit code 1 where one does not hold."""
    measurement = Measurement.simulate()
    outcomes = []
    for fault in FAULTS:
        if only and not any(part in fault.name for part in only):
            continue
        outcomes.append(last := run(fault, measurement))
        verdict = ", ".join(last["broken"]) or "holds"
        print(
            f"{fault.name}: {last['seen']}: {verdict} ({last['seconds']:.0f} s)", file=sys.stderr, flush=True
        )
    outcomes = with_ratios(outcomes)
    show(outcomes, json_file)
    if any(each["broken"] for each in outcomes):
        raise typer.Exit(1)


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
