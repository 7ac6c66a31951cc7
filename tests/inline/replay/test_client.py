"""The client, against a server of a few lines."""

import socket
import threading
import time

import numpy as np
import pytest

from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Close, Image
from inline.mrd.protocol import Decoder, encode
from inline.replay.client import ConnectionFailedError, exchange

IMAGE = Image.from_pixels(np.zeros((1, 1, 8, 8), np.uint16), ImageHeader(), {"a": "b"})


@pytest.fixture
def echo():
    """Start a server that sends images back and closes after the client, at once or never."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve(closes):
            connection, _ = listening.accept()
            with connection:
                decoder = Decoder()
                while not decoder.closed and (data := connection.recv(1 << 16)):
                    for message in decoder.receive(data):
                        if isinstance(message, Image):
                            connection.sendall(encode(message))
                if closes:
                    connection.sendall(encode(Close()))
                connection.recv(1)

        def start(closes=True):
            threading.Thread(target=serve, args=(closes,), daemon=True).start()
            return listening.getsockname()

        yield start


def test_a_pause_between_images_may_be_longer_than_the_longest_silence(echo):
    def after_a_pause():
        yield IMAGE
        time.sleep(1.0)
        yield IMAGE

    assert len(exchange(echo(), "", after_a_pause(), timeout_s=0.2).images) == 2


def test_a_server_that_is_silent_once_everything_is_sent_is_an_error(echo):
    start = time.perf_counter()
    with pytest.raises(ConnectionFailedError, match="timed out"):
        exchange(echo(closes=False), "", [IMAGE], timeout_s=0.2)
    assert time.perf_counter() - start < 2.0
