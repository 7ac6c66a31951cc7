"""Messages of a client to a server, and those that come back."""

import json
import socket

from inline.mrd.messages import Image, Text
from inline.mrd.protocol import Decoder


def parameters(**values):
    return Text(json.dumps({"version": "1.1.0", "parameters": values}))


def read_all(connection, decoder=None):
    """The messages up to the end of a stream, or its rest where a decoder has its beginning."""
    decoder, messages = decoder or Decoder(), []
    while data := connection.recv(1 << 16):
        messages += decoder.receive(data)
    return messages


def talk(address, data, *, shut=True):
    """Everything that a server says to some bytes."""
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(data)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def of(kind, messages):
    return [each for each in messages if isinstance(each, kind)]


def texts(messages):
    return [each.text for each in of(Text, messages)]


def originals(messages):
    return [each for each in of(Image, messages) if each.header.image_series_index < 1000]
