"""Live page: time from a result to its map in a real browser, and what open pages cost the stream."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from bench.browser import browser
from bench.latency import run_session
from bench.values import PERCENTILES, percentiles, write_results
from bench.watched import Address, make_stream
from inline.cli.tables import print_lines, print_values
from inline.data.errors import MyostreamError
from inline.emit.publisher import decode, subscribe
from inline.replay.local_server import StartedServer, started_server

_ADDRESS: Final = re.compile(r"live page on http://(\S+):(\d+)/")
_PUBLISHING: Final = re.compile(r"publishing on (\S+)")
_BLOCKS: Final = 4
"""Blocks of slices with pages and without, in turn: the load of a machine changes with time."""
_OBSERVE: Final = """
window.drawn = {};
new MutationObserver(function (changes) {
  changes.forEach(function (change) {
    const card = change.target;
    if (card.classList.contains("drawn") && !card.noted) {
      card.noted = true;
      window.drawn[Object.keys(window.drawn).length] = Date.now();
    }
  });
}).observe(document.documentElement, { attributes: true, attributeFilter: ["class"], subtree: true });
"""


def measure(slices: int, interval_ms: float, clients: int, engine: str = "auto") -> dict[str, Any]:
    """Measure both: an examination at a scanner's pace in Chromium, and latencies with and without pages."""
    return {"engine": engine, "shown_ms": shown(engine), **disturbed(slices, interval_ms, clients, engine)}


def shown(engine: str) -> dict[str, float]:
    """Return percentiles of the time from a result to its map on the page, ms.

    The time of a result is that of its ZeroMQ message. The examination is a simulated one of six slices,
    replayed in real time.

    Raises:
        MyostreamError: there is no browser, or a slice does not appear.
    """
    arguments = ["--page-port", "0", "--zmq", "tcp://127.0.0.1:*", "--engine", engine]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _command("synth", "-o", str(folder / "in.h5"), "--slices", "3")
        server = stack.enter_context(started_server(arguments))
        window = stack.enter_context(browser())
        window.open("http://{}:{}/".format(*page_address(server)))
        window.wait("document.getElementById('state').textContent.startsWith('ready')")
        window.evaluate(_OBSERVE)
        published = _match(_PUBLISHING, server)[1]
        results = stack.enter_context(_results(published))
        place = "{}:{}".format(*server.address)
        _command(
            "replay", str(folder / "in.h5"), "-o", str(folder / "out.h5"), "--server", place, "--realtime"
        )
        window.wait("document.querySelectorAll('.card.drawn').length >= 6")
        drawn = sorted(window.evaluate("Object.values(window.drawn)"))
    return percentiles([at - result * 1000.0 for at, result in zip(drawn, sorted(results), strict=True)])


def disturbed(slices: int, interval_ms: float, clients: int, engine: str) -> dict[str, Any]:
    """Return percentiles of the latency without pages and with ``clients`` of them, ms, and their ratio.

    A client reads the events, and fetches every map; every fifth opens the stream and reads nothing.
    """
    took: dict[str, list[float]] = {"without": [], "with": []}
    header, stream = make_stream(_BLOCKS * slices)
    arguments = ["--page-port", "0", "--engine", engine]
    with started_server(arguments) as server:
        run_session(server.address, header, make_stream(4)[1], interval_ms / 1000.0)  # cold caches
        for block in range(_BLOCKS):
            part = stream[block * slices : (block + 1) * slices]
            name = "with" if block % 2 else "without"
            with _clients(page_address(server), clients if block % 2 else 0):
                session = run_session(server.address, header, part, interval_ms / 1000.0)
            took[name] += [each.latency_ms for each in session]
    stated = {name: percentiles(values) for name, values in took.items()}
    return {
        "slices": len(took["with"]),
        "clients": clients,
        "latency_ms": stated,
        "p50_ratio": stated["with"]["p50"] / stated["without"]["p50"],
        "p99_ratio": stated["with"]["p99"] / stated["without"]["p99"],
    }


def page_address(server: StartedServer) -> Address:
    """Return the address of a server's live page."""
    found = _match(_ADDRESS, server)
    return found[1], int(found[2])


def show(results: dict[str, Any], json_file: Path | None) -> None:
    """Print the tables and write the values."""
    print_values("From a result to its map on the page, ms", "", {"shown": results["shown_ms"]}, PERCENTILES)
    title = f"{results['slices']} slices each, ms to the result, {results['clients']} pages"
    print_values(title, "pages", results["latency_ms"], PERCENTILES)
    print_lines(f"with pages / without: p50 {results['p50_ratio']:.3f}, p99 {results['p99_ratio']:.3f}")
    write_results(json_file, results)


def _match(pattern: re.Pattern[str], server: StartedServer, timeout_s: float = 10.0) -> re.Match[str]:
    end = time.monotonic() + timeout_s
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
def _results(address: str) -> Iterator[list[float]]:
    """Collect the time at which each result is published, s since 1970."""
    times: list[float] = []
    ended = threading.Event()
    socket_ = subscribe(address)

    def receive() -> None:
        while not ended.is_set():
            if socket_.poll(100):
                content = decode(socket_.recv_multipart())
                if "regions" in content and "quantity" in content:
                    times.append(time.time())
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
    command = [sys.executable, "-P", "-m", "bench.page", address[0], str(address[1]), str(number)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        time.sleep(1.0)
        try:
            yield
        finally:
            process.kill()


def _watch(address: Address) -> None:
    """Do what an open page does, without drawing."""
    with _get(address, "/events") as events:
        for line in events.makefile("rb"):
            if line.startswith(b"data: {") and b'"map"' in line:
                number = json.loads(line[6:])["number"]
                with _get(address, f"/results/{number}/map") as reply:
                    while reply.recv(1 << 16):
                        pass


def _get(address: Address, path: str) -> socket.socket:
    connection = socket.create_connection(address)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


def _be_clients(address: Address, number: int) -> None:
    """Be several pages, every fifth of which reads nothing, until the input ends."""
    idle = [_get(address, "/events") for _ in range(number // 5)]
    for _ in range(number - len(idle)):
        threading.Thread(target=_watch, args=(address,), daemon=True).start()
    sys.stdin.buffer.read()
    del idle


if __name__ == "__main__":
    _be_clients((sys.argv[1], int(sys.argv[2])), int(sys.argv[3]))
