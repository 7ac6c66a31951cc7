"""The campaign of faults against a live server, as a table: ``python -m bench.faults``.

Every fault gets a server process of its own and a good client beside it, whose originals are compared message
by message (``docs/reliability.md``).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from bench import attacks
from bench.attacks import Scene, Seen
from bench.stream import percentiles
from bench.watched import Address, Examination, Tally, watched_server
from model.machine import describe_machine

_STALLED_S: Final = 4.0
"""Shorter than the default of 60 s, so that the table takes minutes."""
_ALONE_S: Final = 8.0
"""Time before an attack in which the good client is alone, after one cold examination. A second of it would
compare the 99th percentile of a dozen examinations with that of a hundred."""
_MOST_MB: Final = 2500.0
_SLOWER: Final = 1.2
_SLOWER_UNDER_LOAD: Final = 2.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        name: as in the table.
        must: what must hold beside what must hold always.
        attack: does it.
        seconds: how long it lasts at most, in most attacks.
        load: it is load of the processor or the network, so that others may become twice as slow.
        beside: a good client works beside it.
        arguments: further options of ``serve``.
    """

    name: str
    must: str
    attack: Callable[[Scene], Seen]
    seconds: float = 8.0
    load: bool = False
    beside: bool = True
    arguments: tuple[str, ...] = ()


FAULTS: Final = (
    Fault("comments against regular expressions", "images pass at once", attacks.texts, load=True),
    Fault("XML entities, UTF-8 and UTF-16", "images pass at once", attacks.entities, load=True),
    Fault(
        "half surrogate pairs",
        "ZeroMQ goes on",
        attacks.surrogates,
        load=True,
        arguments=("--zmq", "tcp://127.0.0.1:*"),
    ),
    Fault("large XML", "images pass", attacks.large_texts, load=True),
    Fault("series that only grows, 2048 x 2048", "images pass", attacks.growing_series, 15.0, load=True),
    Fault("fits of 8192 x 8192", "images pass; result or message", attacks.huge_fits, load=True),
    Fault("peers that read nothing", "given up", attacks.mute_peers, 20.0, load=True),
    Fault("1 byte a second", "given up", attacks.slow_peers, 20.0),
    Fault("16 idle peers", "the 17th is told; a line in the log", attacks.idle_peers, 5.0, beside=False),
    Fault("resets in an image", "the server goes on", attacks.resets, load=True),
    Fault("nonsense, HTTP, TLS, DICOM", "refused", attacks.nonsense),
    Fault("announced lengths", "refused in a message", attacks.announced),
    Fault(
        "200 clients at once",
        "all served",
        attacks.crowd,
        beside=False,
        load=True,
        arguments=("--budget-ms", "120000"),
    ),
    Fault("deep JSON", "images pass at once", attacks.deep_json, load=True),
    Fault("flood of texts", "log grows by less than 1 MB", attacks.text_flood, load=True),
    Fault("SIGTERM in an examination", "images come back, client is told", attacks.termination, beside=False),
    Fault("slow reader after an error", "all that was finished arrives", attacks.unread, load=True),
    Fault("starts and stops of the Gadgetron module", "code 0", attacks.module_runs, beside=False),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen of one fault.

    Attributes:
        name: of the fault.
        must: what must hold.
        seen: by the attacker.
        sent: images that the good client sent, before, during and after.
        lost: of these, those that did not come back bit for bit and in order.
        before_s: duration of each of its examinations before the attack.
        during_s: likewise during the attack.
        slower: how much slower others may become.
        late: maps of the good client that say ``late``.
        peak_mb: largest resident memory of the server.
        code: exit code after SIGTERM; None where it had to be killed.
        broken: what does not hold, by name.
        seconds: taken in all.
    """

    name: str
    must: str
    seen: str
    sent: int
    lost: int
    before_s: tuple[float, ...]
    during_s: tuple[float, ...]
    slower: float
    late: int
    peak_mb: float
    code: int | None
    broken: tuple[str, ...]
    seconds: float


_over: Event
"""Set in the process of the good client when the attack is over."""


@contextmanager
def _good_client() -> Iterator[tuple[ProcessPoolExecutor, Event]]:
    """A process for the good client: the attacker's own work must not slow it down."""
    spawn = get_context("spawn")
    over = spawn.Event()
    with ProcessPoolExecutor(1, spawn, _set_over, (over,)) as pool:
        yield pool, over


def _set_over(event: Event) -> None:
    global _over
    _over = event


def _yield_to_others() -> None:
    """Lower the priority of this thread and of those that it starts: an attacker has a host of its own."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)


def _examine(address: Address, examination: Examination, seconds: float | None) -> Tally:
    """Do examinations for some seconds, or until the attack is over; at least one."""
    tally, end = Tally(), time.monotonic() + (seconds or 0.0)
    while not tally.examinations or (time.monotonic() < end if seconds is not None else not _over.is_set()):
        tally.examine(address, examination)
    return tally


def run(fault: Fault, examination: Examination, *, scale: float = 1.0) -> Outcome:
    """Do one fault to a server of its own.

    Args:
        fault: to do.
        examination: of the good client.
        scale: factor on the fault's seconds and on those before it.
    """
    start = time.monotonic()
    alone, beside, after = Tally(), Tally(), Tally()
    settings = f"[server]\nstalled_s = {_STALLED_S}\n"
    with _good_client() as (client, over), watched_server(fault.arguments, settings) as server:
        alone.examine(server.address, examination)
        working: Future[Tally] | None = None
        if fault.beside:
            seconds = _ALONE_S * scale
            alone = client.submit(_examine, server.address, examination, seconds).result()
            working = client.submit(_examine, server.address, examination, None)
        try:
            with ThreadPoolExecutor(1, initializer=_yield_to_others) as attacker:
                scene = Scene(server, examination, fault.seconds * scale, _STALLED_S)
                seen = attacker.submit(fault.attack, scene).result()
        except Exception as error:
            seen = Seen(f"the attack broke off: {type(error).__name__}: {error}"[:160], False)
        over.set()
        if working is not None:
            beside = working.result()
        if fault.attack is not attacks.termination:
            after.examine(server.address, examination)
        died = server.process.poll() not in (None, 0)
        code = server.stop()
        tracebacks, peak = server.text().count("Traceback"), server.peak
    tallies = (alone, beside, after)
    found = {
        "the fault's own promise": not seen.holds,
        "images lost": any(tally.lost or tally.disordered for tally in tallies),
        "the good client broke off": any(tally.problems for tally in tallies),
        "the server died": died,
        f"exit code {code}": code != 0,
        f"{tracebacks} tracebacks in the log": tracebacks > 0,
        "memory": peak > _MOST_MB,
    }
    return Outcome(
        name=fault.name,
        must=fault.must,
        seen=seen.text,
        sent=sum(tally.sent for tally in tallies),
        lost=sum(tally.lost for tally in tallies),
        before_s=tuple(alone.seconds) if fault.beside else (),
        during_s=tuple(beside.seconds),
        slower=_SLOWER_UNDER_LOAD if fault.load else _SLOWER,
        late=sum(tally.late for tally in tallies),
        peak_mb=peak,
        code=code,
        broken=tuple(what for what, is_broken in found.items() if is_broken),
        seconds=time.monotonic() - start,
    )


@dataclass(frozen=True, slots=True)
class Rated:
    """An outcome beside the good client's examinations before all attacks together.

    Attributes:
        outcome: of the fault.
        ratio: 99th percentile of the examinations during the attack over that of all before attacks; None
            without any.
        broken: what does not hold.
    """

    outcome: Outcome
    ratio: float | None
    broken: tuple[str, ...]


def rated(outcomes: Sequence[Outcome]) -> list[Rated]:
    """Compare what was seen during each attack with what was seen before all of them.

    Some ninety examinations fit into an attack. The 99th percentile of as few before it would be the slowest
    of them by chance.
    """
    before = percentiles([each for outcome in outcomes for each in outcome.before_s])
    made = []
    for outcome in outcomes:
        ratio = percentiles(outcome.during_s)["p99"] / before["p99"] if outcome.during_s and before else None
        slow = ("others slowed down",) if ratio is not None and ratio > outcome.slower else ()
        made.append(Rated(outcome, ratio, outcome.broken + slow))
    return made


def show(results: Sequence[Rated], json_file: Path | None, console: Console | None = None) -> None:
    """Print the table and write the figures."""
    console = console or Console()
    table = Table(title=f"Faults (always: no image lost, exit code 0, at most {_MOST_MB:.0f} MB)")
    for column in ("fault", "must hold", "seen"):
        table.add_column(column, overflow="fold")
    for column in ("lost", "p99 ratio", "peak MB", "exit"):
        table.add_column(column, justify="right")
    table.add_column("holds", overflow="fold")
    for result in results:
        each = result.outcome
        table.add_row(
            each.name,
            each.must,
            each.seen,
            f"{each.lost} of {each.sent}",
            "-" if result.ratio is None else f"{result.ratio:.2f}",
            f"{each.peak_mb:.0f}",
            "killed" if each.code is None else str(each.code),
            "yes" if not result.broken else f"NO: {', '.join(result.broken)}",
        )
    console.print(table)
    outcomes = [each.outcome for each in results]
    held = sum(not each.broken for each in results)
    lost, sent = sum(each.lost for each in outcomes), sum(each.sent for each in outcomes)
    console.print(
        f"{held} of {len(outcomes)} hold; {lost} of {sent} images of good clients lost; "
        f"{sum(each.seconds for each in outcomes):.0f} s",
        highlight=False,
    )
    if json_file is not None:
        content: dict[str, Any] = {
            "machine": describe_machine(),
            "faults": [
                {**asdict(each.outcome), "ratio": each.ratio, "broken": each.broken} for each in results
            ],
        }
        json_file.write_text(json.dumps(content, indent=1), encoding="utf-8")


def main(
    only: Annotated[list[str] | None, typer.Option(help="Faults whose name contains this.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures here.")] = None,
) -> None:
    """Do every fault to a live server and print what was seen; exit code 1 where something broke."""
    chosen = [each for each in FAULTS if not only or any(part in each.name for part in only)]
    examination = Examination.simulate()
    outcomes = []
    for fault in chosen:
        outcomes.append(run(fault, examination))
        last = outcomes[-1]
        said = f"{last.name}: {last.seen}: {', '.join(last.broken) or 'holds'} ({last.seconds:.0f} s)"
        print(said, file=sys.stderr, flush=True)
    results = rated(outcomes)
    show(results, json_file)
    if any(each.broken for each in results):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
