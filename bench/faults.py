"""Campaign of faults against live servers, as a table: ``python -m bench.faults``.

Each fault has a server process of its own and a good client beside it, whose originals are compared message
by message (``docs/reliability.md``).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from bench import attacks
from bench.attacks import Observation, Target
from bench.timing import percentiles
from bench.watched import Address, Measurement, Tally, usage, watched_server
from inline.cli.errors import report_errors
from inline.cli.options import JsonFile
from model.machine import describe_machine
from model.output import write_json

_STALLED_S: Final = 4.0
"""Shorter than the default of 60 s, so that the table takes minutes."""
_ALONE_S: Final = 8.0
"""Time of the good client alone before an attack, after one cold measurement. In one second it sends a dozen
measurements, too few for a 99th percentile."""
_MOST_MB: Final = 2500.0
_SLOWER: Final = 1.2
_SLOWER_UNDER_LOAD: Final = 2.0


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one fault.

    Attributes:
        name: of the fault.
        promise: of the fault.
        seen: observation of the attack.
        sent: images that the good client sent before, during and after.
        lost: of these, those that did not come back bit-exact.
        before_s: duration of each of its measurements before the attack.
        during_s: likewise during the attack.
        slower: largest allowed ratio of their 99th percentiles.
        late: maps of the good client flagged ``late``.
        peak_mb: largest resident memory of the server; None where the server died.
        code: exit code after SIGTERM; None where the server had to be killed.
        broken: names of what does not hold.
        seconds: duration in all.
        ratio: 99th percentile during the attack over that before all attacks; None without either.
    """

    name: str
    promise: str
    seen: str
    sent: int
    lost: int
    before_s: tuple[float, ...]
    during_s: tuple[float, ...]
    slower: float
    late: int
    peak_mb: float | None
    code: int | None
    broken: tuple[str, ...]
    seconds: float
    ratio: float | None = None


_over: Event
"""Set in the process of the good client when the attack is over."""


@contextmanager
def _good_client() -> Iterator[tuple[ProcessPoolExecutor, Event]]:
    """Start a process for the good client, which the work of the attacker must not slow down."""
    spawn = get_context("spawn")
    over = spawn.Event()
    with ProcessPoolExecutor(1, spawn, _set_over, (over,)) as pool:
        yield pool, over


def _set_over(event: Event) -> None:
    global _over
    _over = event


def _lower_priority() -> None:
    """Lower the priority of this thread and of those that it starts: a real attacker has another host."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)


def _send(address: Address, measurement: Measurement, seconds: float | None) -> Tally:
    """Send measurements for some seconds, or until the attack is over; at least one."""
    tally, end = Tally(), time.monotonic() + (seconds or 0.0)
    while not tally.measurements or (time.monotonic() < end if seconds is not None else not _over.is_set()):
        tally.send(address, measurement)
    return tally


def run(fault: Fault, measurement: Measurement, *, scale: float = 1.0) -> Outcome:
    """Run one fault against a server of its own.

    Args:
        fault: to run.
        measurement: of the good client.
        scale: factor on the durations.
    """
    start = time.monotonic()
    alone, beside, after = Tally(), Tally(), Tally()
    settings = f"[server]\nstalled_s = {_STALLED_S}\n"
    with _good_client() as (client, over), watched_server(fault.arguments, settings) as server:
        alone.send(server.address, measurement)
        if fault.beside:
            alone = client.submit(_send, server.address, measurement, _ALONE_S * scale).result()
            during = client.submit(_send, server.address, measurement, None)
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
    tallies = (alone, beside, after)
    checks = {
        "the fault's own promise": not seen.holds,
        "images lost": any(tally.lost or tally.disordered for tally in tallies),
        "the good client broke off": any(tally.problems for tally in tallies),
        "the server died": died,
        f"exit code {code}": code != 0,
        f"{tracebacks} tracebacks in the log": tracebacks > 0,
        "memory": used is not None and used.peak_mb > _MOST_MB,
    }
    return Outcome(
        name=fault.name,
        promise=fault.promise,
        seen=seen.text,
        sent=sum(tally.sent for tally in tallies),
        lost=sum(tally.lost for tally in tallies),
        before_s=tuple(alone.seconds) if fault.beside else (),
        during_s=tuple(beside.seconds),
        slower=_SLOWER_UNDER_LOAD if fault.load else _SLOWER,
        late=sum(tally.late for tally in tallies),
        peak_mb=None if used is None else used.peak_mb,
        code=code,
        broken=tuple(name for name, is_broken in checks.items() if is_broken),
        seconds=time.monotonic() - start,
    )


def with_ratios(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Compare the good client's durations during each attack with those before all attacks together.

    Some ninety measurements fit into an attack. The 99th percentile of as few before it would be the slowest
    of them by chance.
    """
    before = percentiles([each for outcome in outcomes for each in outcome.before_s])
    compared = []
    for outcome in outcomes:
        ratio = percentiles(outcome.during_s)["p99"] / before["p99"] if outcome.during_s and before else None
        slow = ("others slowed down",) if ratio is not None and ratio > outcome.slower else ()
        compared.append(replace(outcome, ratio=ratio, broken=outcome.broken + slow))
    return compared


def show(outcomes: Sequence[Outcome], json_file: Path | None, console: Console | None = None) -> None:
    """Print the table and write the values."""
    console = console or Console()
    table = Table(title=f"Faults (always: no image lost, exit code 0, at most {_MOST_MB:.0f} MB)")
    for column in ("fault", "must hold", "seen"):
        table.add_column(column, overflow="fold")
    for column in ("lost", "p99 ratio", "peak MB", "exit"):
        table.add_column(column, justify="right")
    table.add_column("holds", overflow="fold")
    for each in outcomes:
        table.add_row(
            each.name,
            each.promise,
            each.seen,
            f"{each.lost} of {each.sent}",
            "-" if each.ratio is None else f"{each.ratio:.2f}",
            "-" if each.peak_mb is None else f"{each.peak_mb:.0f}",
            "killed" if each.code is None else str(each.code),
            "yes" if not each.broken else f"NO: {', '.join(each.broken)}",
        )
    console.print(table)
    lost, sent = sum(each.lost for each in outcomes), sum(each.sent for each in outcomes)
    console.print(
        f"{sum(not each.broken for each in outcomes)} of {len(outcomes)} hold; "
        f"{lost} of {sent} images of good clients lost; {sum(each.seconds for each in outcomes):.0f} s",
        highlight=False,
    )
    if json_file is not None:
        write_json(json_file, {"machine": describe_machine(), "faults": [asdict(each) for each in outcomes]})


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
        verdict = ", ".join(last.broken) or "holds"
        print(f"{last.name}: {last.seen}: {verdict} ({last.seconds:.0f} s)", file=sys.stderr, flush=True)
    outcomes = with_ratios(outcomes)
    show(outcomes, json_file)
    if any(each.broken for each in outcomes):
        raise typer.Exit(1)


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
