"""The gadget against the bytes that Gadgetron sends, in the order in which it sends them."""

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

from inline import gadget
from inline.mrd.image_header import ImageType
from inline.mrd.messages import Close, Image, Text
from inline.mrd.protocol import Decoder
from inline.replay import records

CHAINS = Path(gadget.__file__).parent / "chains"


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


def read_all(connection):
    decoder, messages = Decoder(), []
    while data := connection.recv(1 << 16):
        messages += decoder.receive(data)
    return messages


def check(messages, images):
    assert messages[-1] == Close()
    assert not any(isinstance(message, Text) for message in messages)  # illegal from a module
    # Maps and labels, but no RGB images, which end Gadgetron's DICOM writer; the acquisition, and the close.
    assert len(messages) == len(images) + 8 + 2
    assert all(image.header.image_type != ImageType.RGB for image in messages if isinstance(image, Image))
    came = [message for message in messages if isinstance(message, Image)]
    assert [image for image in came if image.header.image_series_index < 5000] == images
    assert len(records(came)) == 4


def test_the_module_on_its_own(examination):
    _, header, images = examination
    with socket.create_server(("localhost", 0)) as listening:
        port = listening.getsockname()[1]
        process = subprocess.Popen([sys.executable, "-m", "inline.gadget", str(port)])
        listening.settimeout(60)
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(60)
            connection.sendall(from_gadgetron(header, images))
            messages = read_all(connection)
        assert process.wait(timeout=60) == 0
    check(messages, images)


def test_through_the_package(examination):
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
        gadget.mapping(SimpleNamespace(socket=wrapper, raw_bytes=raw))
        wrapper.close()
        reader.join(timeout=60)
    check(received, images)


def test_with_the_real_package(examination):
    pytest.importorskip("gadgetron", reason="the gadgetron package, pyFFTW and multimethod are not installed")
    _, header, images = examination
    with socket.create_server(("localhost", 0)) as listening:
        port = listening.getsockname()[1]
        command = [sys.executable, "-m", "gadgetron", str(port), "inline.gadget", "mapping"]
        process = subprocess.Popen(command)
        listening.settimeout(60)
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(60)
            connection.sendall(from_gadgetron(header, images))
            messages = read_all(connection)
        assert process.wait(timeout=60) == 0
    check(messages, images)


def test_nobody_listening_is_a_message():
    assert gadget.main(["1"]) == 1
    assert gadget.main([]) == 2


@pytest.mark.parametrize("file", sorted(CHAINS.glob("*.xml")), ids=lambda file: file.name)
def test_chains_name_what_exists(file):
    external = ElementTree.parse(file).getroot().find("stream/external")
    assert external is not None
    execute, connect = external.find("execute"), external.find("connect")
    if execute is not None:
        assert execute.get("name") == gadget.__name__
        assert callable(getattr(gadget, execute.get("target")))
    else:
        assert connect.get("port") == "9002"


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
    assert external.find("configuration/myostream").get("config") == "mapping"
