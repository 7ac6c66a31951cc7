"""Measurement of the live page: what is printed, and clients that do what a page does."""

import json
import socket
import threading

import pytest

from bench.browser import browser, executable
from bench.page import OBSERVE, show
from bench.page_clients import attack, ignore, kinds, sip, watch

PERCENTILES = {"p50": 10.0, "p95": 20.0, "p99": 30.0, "max": 40.0}
RESULTS = {
    "engine_used": "openvino-f32",
    "slices": 8,
    "interval_ms": 150.0,
    "clients": 20,
    "load_before": 0.5,
    "shown_ms": {"result to map": {**PERCENTILES, "results": 8}},
    "latency_ms": {"without pages": PERCENTILES, "with pages": PERCENTILES},
    "ratio": {"with / without": {"p50": 1.0, "p95": 1.0, "p99": 1.0625}},
    "pairs": [0.98, 1.02],
}


def test_the_ratios_are_printed_and_written(capsys, tmp_path):
    show(RESULTS, tmp_path / "page.json")
    printed = capsys.readouterr().out
    assert "engine openvino-f32" in " ".join(printed.split())
    assert "p99 1.062" in printed
    assert json.loads((tmp_path / "page.json").read_text())["clients"] == 20


def test_the_values_are_written_when_nobody_reads_the_terminal(tmp_path, closed_terminal):
    with pytest.raises(BrokenPipeError):
        show(RESULTS, tmp_path / "page.json")
    assert json.loads((tmp_path / "page.json").read_text())["slices"] == 8


@pytest.mark.skipif(executable() is None, reason="there is no chromium")
def test_a_map_is_seen_whether_it_is_drawn_before_or_after_its_card_is_on_the_page():
    """A card made and drawn within one frame was missed, and the measurement waited for it in vain."""
    with browser() as window:
        window.evaluate(OBSERVE)
        window.evaluate("""["early", "late"].forEach(function (name) {
            const card = document.createElement("button");
            card.setAttribute("data-result", name);
            if (name === "early") { card.classList.add("drawn"); }
            document.body.appendChild(card);
            if (name === "late") { card.classList.add("drawn"); }
        })""")
        window.wait("window.drawn.early > 0 && window.drawn.late > 0", 5.0)


def test_a_client_fetches_the_map_of_every_result():
    asked = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listening.accept()
        asked.append(connection.recv(1000).split()[1])
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\ndata: {}\n\n")
        for event in (
            {"number": 5, "images": ["map"]},
            {"number": 6, "images": []},
            {"number": 7, "images": ["map"]},
            {"kind": "levels", "slices": [{"map": 1}]},
        ):
            connection.sendall(b"data: " + json.dumps(event).encode() + b"\n\n")
        for _ in range(2):
            image, _ = listening.accept()
            asked.append(image.recv(1000).split()[1])
            image.sendall(b"x" * 100_000)
            image.close()
        connection.close()

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    watch(listening.getsockname())
    server.join(10)
    listening.close()
    assert asked == [b"/events", b"/results/5/map", b"/results/7/map"]


def test_three_in_five_clients_read_and_the_others_are_slow_dead_or_hostile():
    assert [kinds(20).count(kind) for kind in (watch, sip, ignore, attack)] == [12, 2, 2, 4]
    assert len(kinds(13)) == 13
