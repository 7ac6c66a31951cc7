"""The module of a chain against the bytes that Gadgetron sends, in the order in which it sends them."""

import contextlib
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import ismrmrd
import numpy as np
import pytest

from inline import engine_selection
from inline.mrd.image_header import ImageType
from inline.mrd.messages import Close, Image, Text
from inline.mrd.protocol import encode
from inline.replay.replies import records
from inline.serving import gadgetron as module
from tests.inline.serving.messages import read_all

CHAINS = Path(module.__file__).parent / "chains"


def text(number, content):
    """Gadgetron's configuration and header messages: identifier, length of 4 bytes, text without a NUL."""
    return struct.pack("<HI", number, len(content)) + content.encode()


def from_gadgetron(header, images):
    """The sequence of Gadgetron's External channel, written with ``struct`` and the ismrmrd package alone."""
    xml = '<?xml version="1.0"?>\n<configuration><myostream config="mapping"/></configuration>\n'
    out = text(2, xml) + text(3, header)
    raw = ismrmrd.Acquisition.from_array(np.ones((1, 4), np.complex64))
    out += struct.pack("<H", 1008) + bytes(raw.getHead()) + raw.data.tobytes()
    for image in images:
        head, attributes = image.header.pack(), image.attributes
        out += struct.pack("<H", 1022) + head + struct.pack("<Q", len(attributes)) + attributes + image.data
    return out + struct.pack("<H", 4)


@contextlib.contextmanager
def gadgetron():
    """A listening Gadgetron, and its connection once the module has connected."""
    with socket.create_server(("localhost", 0)) as listening:
        listening.settimeout(200)  # a process starts, on a busy machine

        def accept():
            connection, _ = listening.accept()
            connection.settimeout(200)
            return connection

        yield listening.getsockname()[1], accept


@contextlib.contextmanager
def launched(name, *arguments):
    """The connection of a module that runs as a process, which ends with code 0."""
    with gadgetron() as (port, accept):
        command = [sys.executable, "-m", name, str(port), *arguments]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        with accept() as connection:
            yield connection
        errors = process.communicate(timeout=120)[1]
    assert process.returncode == 0, errors


def check(messages, images):
    assert messages[-1] == Close()
    assert not any(isinstance(message, Text) for message in messages)  # illegal from a module
    # Maps and labels, but no RGB images, which end Gadgetron's DICOM writer; the acquisition, and the close.
    assert len(messages) == len(images) + 8 + 2
    assert all(image.header.image_type != ImageType.RGB for image in messages if isinstance(image, Image))
    came = [message for message in messages if isinstance(message, Image)]
    assert [image for image in came if image.header.image_series_index < 5000] == images
    assert len(records(came)) == 4


@pytest.mark.slow  # by default tests/cases/test_26_started_by_gadgetron.py starts it with one series
def test_the_module_on_its_own(examination):
    _, header, images = examination
    with launched("inline.serving.gadgetron") as connection:
        connection.sendall(from_gadgetron(header, images))
        messages = read_all(connection)
    check(messages, images)


@pytest.fixture
def ring(ring_engine, monkeypatch):
    """An engine that needs no time."""
    monkeypatch.setattr(engine_selection, "make_engine", lambda settings, **_kwargs: ring_engine)


def test_through_the_package(ring, examination):
    """As ``python -m gadgetron`` does it: read configuration and header, call the target, close."""
    _, header, images = examination
    ours, theirs = socket.socketpair()
    stream = from_gadgetron(header, images)

    def string():
        (size,) = struct.unpack("<HI", ours.recv(6, socket.MSG_WAITALL))[1:]
        return ours.recv(size, socket.MSG_WAITALL)

    with ours, theirs:
        received = []
        reader = threading.Thread(target=lambda: received.extend(read_all(theirs)))
        threading.Thread(target=theirs.sendall, args=(stream,)).start()
        raw = SimpleNamespace(config=string(), header=string())
        reader.start()
        wrapper = SimpleNamespace(socket=ours, close=lambda: pytest.fail("a second close message"))
        module.mapping(SimpleNamespace(socket=wrapper, raw_bytes=raw))
        wrapper.close()
        reader.join(timeout=60)
    check(received, images)


@pytest.mark.slow  # by default test_through_the_package does as the package does
def test_with_the_real_package(examination):
    pytest.importorskip("gadgetron", reason="the gadgetron package, pyFFTW and multimethod are not installed")
    _, header, images = examination
    with launched("gadgetron", "inline.serving.gadgetron", "mapping") as connection:
        connection.sendall(from_gadgetron(header, images))
        messages = read_all(connection)
    check(messages, images)


def half_close(connection):
    connection.shutdown(socket.SHUT_WR)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


BUCKET = struct.pack("<H", 1050) + bytes(400)
HALF_IMAGE = struct.pack("<H", 1022) + bytes(100)


@pytest.mark.parametrize(
    ("count", "more", "end"),
    [
        (0, b"", half_close),
        (3, b"", reset),
        (3, HALF_IMAGE, half_close),
        (8, BUCKET, None),
        (0, BUCKET, None),
    ],
)
def test_it_returns_0_however_the_stream_ends(count, more, end, ring, examination, capfd):
    _, header, images = examination
    data = text(2, "<configuration/>") + text(3, header) + b"".join(map(encode, images[:count])) + more
    codes = []
    with gadgetron() as (port, accept):
        running = threading.Thread(target=lambda: codes.append(module.main([str(port)])))
        running.start()
        with accept() as connection:
            connection.sendall(data)
            if end is not None:
                end(connection)
            messages = [] if end is reset else read_all(connection)
        running.join(timeout=60)
    assert codes == [0]
    if end is not reset:
        assert messages[-1] == Close()
        assert [each for each in messages if isinstance(each, Image)][:count] == images[:count]
        assert len(records([each for each in messages if isinstance(each, Image)])) == (count == 8)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("_", range(4))
def test_its_process_ends_with_code_0_without_a_slice(_, examination):
    """The engine was once destroyed by a thread while the interpreter ended: 16 of 24 runs aborted."""
    _, header, _ = examination
    with launched("inline.serving.gadgetron") as connection:
        connection.sendall(text(2, "<configuration/>") + text(3, header) + encode(Close()))
        assert read_all(connection) == [Close()]


@pytest.mark.slow
def test_a_peer_that_is_gone_does_not_fail_the_package(examination):
    """The package sends its close message to whatever is left of the connection."""
    pytest.importorskip("gadgetron", reason="the gadgetron package is not installed")
    _, header, images = examination
    with launched("gadgetron", "inline.serving.gadgetron", "mapping") as connection:
        connection.sendall(from_gadgetron(header, images)[:-1000])
        assert connection.recv(1)  # a reset while the package connects is an error of its own
        reset(connection)


def test_nobody_listening_is_a_message():
    assert module.main(["1"]) == 1
    assert module.main([]) == 2


@pytest.mark.parametrize("file", sorted(CHAINS.glob("*.xml")), ids=lambda file: file.name)
def test_chains_name_what_exists(file):
    external = ElementTree.parse(file).getroot().find("stream/external")
    assert external is not None
    execute, connect = external.find("execute"), external.find("connect")
    if execute is not None:
        assert execute.get("name") == module.__name__
        assert callable(getattr(module, execute.get("target")))
    else:
        # Gadgetron listens on 9002 itself, and tries only the first address of a name, which may be ::1.
        assert (connect.get("address"), connect.get("port")) == ("127.0.0.1", "9003")


def names(parent, kind):
    return [(each.findtext("dll"), each.findtext("classname")) for each in parent.findall(f"{kind}s/{kind}")]


@pytest.mark.parametrize("file", sorted(CHAINS.glob("*.xml")), ids=lambda file: file.name)
def test_chains_are_what_gadgetrons_parser_takes(file):
    """By ``Config.cpp``: version 2, known nodes in the stream, one action, images alone for the module."""
    root = ElementTree.parse(file).getroot()
    assert root.tag == "configuration"
    assert root.findtext("version") == "2"
    assert [node.tag for node in root.find("stream")] == ["external"]
    for parent in (root, root.find("stream/external")):
        assert names(parent, "reader") == [("gadgetron_core_readers", "ImageReader")]
        assert names(parent, "writer") == [("gadgetron_core_writers", "ImageWriter")]
    external = root.find("stream/external")
    (action,) = (child for child in external if child.tag in ("execute", "connect"))
    assert set(action.attrib) <= {"name", "type", "target", "address", "port"}
    assert external.find("configuration/myostream").attrib == {"config": "mapping", "overlay": "false"}
