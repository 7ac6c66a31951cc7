"""Live page: time from a result to its map in a real browser, and what open pages cost the stream."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final

from bench.browser import browser
from bench.latency import run_session
from bench.values import PERCENTILES, percentiles, write_results
from bench.watched import Address, make_stream
from inline.data.errors import MyostreamError
from inline.emit.publisher import decode, subscribe
from inline.replay.local_server import StartedServer, started_server
from inline.terminal.tables import print_values
from inline.terminal.text import print_lines

_ADDRESS: Final = re.compile(r"live page on http://(\S+):(\d+)/")
_PUBLISHING: Final = re.compile(r"publishing on (\S+)")
_BLOCKS: Final = 8
"""Blocks of slices without pages and with them, in turn: the load of a machine changes with time."""
_HEARTS: Final = 4
_NAMES: Final = ("without pages", "with pages")
OBSERVE: Final = """
window.drawn = {};
(function () {
  function note(node) {
    const result = node.dataset && node.dataset.result;
    if (result && node.classList.contains("drawn") && !window.drawn[result]) {
      window.drawn[result] = -1;
      /* The frame after the one that paints it. */
      requestAnimationFrame(function () {
        requestAnimationFrame(function () { window.drawn[result] = Date.now(); });
      });
    }
  }
  new MutationObserver(function (changes) {
    changes.forEach(function (change) {
      note(change.target);
      /* A map that is there before the next frame is drawn on a card that the page does not show yet. */
      change.addedNodes.forEach(note);
    });
  }).observe(document.documentElement, {
    attributes: true, attributeFilter: ["class"], childList: true, subtree: true
  });
})();
"""
"""Script that notes in ``window.drawn`` when the map of each result is on the page, ms since 1970."""


def measure(slices: int, interval_ms: float, clients: int, engine: str = "auto") -> dict[str, Any]:
    """Measure both: an examination at a scanner's pace in Chromium, and latencies with and without pages.

    Args:
        slices: with pages, and as many without.
        interval_ms: between two slices.
        clients: number of pages.
        engine: runs the network.
    """
    load = os.getloadavg()[0]
    return {
        "engine": engine,
        "load_before": load,
        "shown_ms": {"result to map": shown(engine)},
        **disturbed(slices, interval_ms, clients, engine),
    }


def shown(engine: str) -> dict[str, float]:
    """Return percentiles of the time from a result to its map on the page, ms, and the number of ``results``.

    The time of a result is that at which its ZeroMQ message arrives here; that of its map, the frame after
    the one that paints it. The examination is a simulated one, replayed in real time.

    Raises:
        MyostreamError: there is no browser, or a slice does not appear.
    """
    arguments = ["--page-port", "0", "--zmq", "tcp://127.0.0.1:*", "--engine", engine]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _command("synth", "-o", str(folder / "in.h5"), "--slices", str(_HEARTS))
        server = stack.enter_context(started_server(arguments))
        window = stack.enter_context(browser())
        window.open("http://{}:{}/".format(*page_address(server)))
        window.wait("document.getElementById('state').textContent.startsWith('ready')")
        window.evaluate(OBSERVE)
        published = stack.enter_context(_results(_match(_PUBLISHING, server)[1]))
        place = "{}:{}".format(*server.address)
        _command(
            "replay", str(folder / "in.h5"), "-o", str(folder / "out.h5"), "--server", place, "--realtime"
        )
        window.wait(f"Object.values(window.drawn).filter(each => each > 0).length >= {2 * _HEARTS}")
        drawn: dict[str, float] = window.evaluate("window.drawn")
    took = [at - 1000.0 * published[name.partition("/")[2]] for name, at in drawn.items()]
    return {**percentiles(took), "results": len(took)}


def disturbed(slices: int, interval_ms: float, clients: int, engine: str) -> dict[str, Any]:
    """Return percentiles of the latency without pages and with them, ms, and their ratios.

    Blocks without and with :mod:`bench.page_clients` take turns. ``pairs``: ratio of the medians of each
    block and the one before it.
    """
    each = max(slices // (_BLOCKS // 2), 1)
    header, stream = make_stream(_BLOCKS * each)
    blocks: list[list[float]] = []
    with started_server(["--page-port", "0", "--engine", engine]) as server:
        run_session(server.address, header, make_stream(4)[1], interval_ms / 1000.0)  # cold caches
        for block in range(_BLOCKS):
            part = stream[block * each : (block + 1) * each]
            with _clients(page_address(server), clients if block % 2 else 0):
                session = run_session(server.address, header, part, interval_ms / 1000.0)
            # The first series of a connection waits for its motion-corrected twin (docs/series.md).
            blocks.append([slice_.latency_ms for slice_ in session[1:]])
    rows = {name: percentiles(list(chain(*blocks[at::2]))) for at, name in enumerate(_NAMES)}
    without, with_ = (rows[name] for name in _NAMES)
    medians = [statistics.median(block) for block in blocks]
    return {
        "engine_used": server.engine,
        "slices": (each - 1) * _BLOCKS // 2,
        "interval_ms": interval_ms,
        "clients": clients,
        "latency_ms": rows,
        "ratio": {"with / without": {name: with_[name] / without[name] for name in ("p50", "p95", "p99")}},
        "pairs": [after / before for before, after in zip(medians[::2], medians[1::2], strict=True)],
    }


def page_address(server: StartedServer) -> Address:
    """Return the address of a server's live page."""
    found = _match(_ADDRESS, server)
    return found[1], int(found[2])


def show(results: dict[str, Any], json_file: Path | None) -> None:
    """Write the values and print the tables."""
    write_results(json_file, results)
    print_values(
        "From a result to its map on the page, ms", "", results["shown_ms"], f"results, {PERCENTILES}"
    )
    title = (
        f"{results['slices']} slices each, one every {results['interval_ms']:.0f} ms: ms to the result, "
        f"without and with {results['clients']} pages, engine {results['engine_used']}"
    )
    print_values(title, "", results["latency_ms"], PERCENTILES)
    (ratio,), pairs = results["ratio"].values(), results["pairs"]
    print_lines(
        f"with pages / without: p50 {ratio['p50']:.3f}, p95 {ratio['p95']:.3f}, p99 {ratio['p99']:.3f}; "
        f"medians of neighbouring blocks {min(pairs):.3f} to {max(pairs):.3f}",
        f"load before: {results['load_before']:.1f}",
    )


def _match(pattern: re.Pattern[str], server: StartedServer) -> re.Match[str]:
    end = time.monotonic() + 10.0
    while (found := pattern.search(server.log_text())) is None:
        if time.monotonic() > end:
            raise MyostreamError(f"the server did not print {pattern.pattern}")
        time.sleep(0.05)
    return found


def _command(*arguments: str) -> None:
    command = [sys.executable, "-P", "-m", "inline", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MyostreamError(f"{arguments[0]} failed: {done.stderr.strip()[-300:]}")


@contextmanager
def _results(address: str) -> Iterator[dict[str, float]]:
    """Collect the time at which each result arrives, s since 1970, by ``series/slice``."""
    times: dict[str, float] = {}
    ended = threading.Event()
    socket_ = subscribe(address)

    def receive() -> None:
        while not ended.is_set():
            if socket_.poll(100):
                content = decode(socket_.recv_multipart())
                if "regions" in content and "quantity" in content:
                    times.setdefault(f"{content['series_index']}/{content['slice_index']}", time.time())
        socket_.close(linger=0)

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    time.sleep(0.5)  # the subscription has to arrive
    try:
        yield times
    finally:
        ended.set()
        thread.join(5.0)


@contextmanager
def _clients(address: Address, number: int) -> Iterator[None]:
    """Open so many pages in a process of their own for the time of the block."""
    if not number:
        yield
        return
    command = [sys.executable, "-P", "-m", "bench.page_clients", address[0], str(address[1]), str(number)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise MyostreamError("the clients of the page did not start")
            yield
        finally:
            process.kill()
