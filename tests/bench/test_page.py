"""Measurement of the live page: what is printed, and clients that do what a page does."""

import json
import socket
import threading

from bench.page import _watch, show

PERCENTILES = {"p50": 10.0, "p95": 20.0, "p99": 30.0, "max": 40.0}


def test_the_ratios_are_printed_and_written(capsys, tmp_path):
    results = {
        "slices": 8,
        "clients": 20,
        "shown_ms": PERCENTILES,
        "latency_ms": {"without": PERCENTILES, "with": PERCENTILES},
        "p50_ratio": 1.0,
        "p99_ratio": 1.0625,
    }
    show(results, tmp_path / "page.json")
    assert "p99 1.062" in capsys.readouterr().out
    assert json.loads((tmp_path / "page.json").read_text())["clients"] == 20


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
    _watch(listening.getsockname())
    server.join(10)
    listening.close()
    assert asked == [b"/events", b"/results/5/map", b"/results/7/map"]
