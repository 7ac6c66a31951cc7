"""``python -m inline.serving.gadgetron PORT`` as a fake Gadgetron starts it: always exit code 0.

Gadgetron takes any other code, an abort or a text message for a failure of the chain. A start takes seconds:
by default the usual stream runs here, and every end of a stream within the process of the tests
(``tests/inline/serving/test_gadgetron.py``).
"""

import socket
import struct
import subprocess
import sys

import pytest

from inline.data.flags import Flag

from .conftest import ENVIRONMENT, ROOT
from .outcomes import PHANTOM, expect, only_map, passed
from .phantom import MOLLI_TIMES, whole
from .wire import Conversation, header_xml, series, text_message

ATTRIBUTES = [{"GADGETRON_TI": time} for time in MOLLI_TIMES]
IMAGES = series(whole(PHANTOM.molli()), ATTRIBUTES)
CONFIGURATION = text_message(
    2, '<?xml version="1.0"?>\n<configuration><myostream config="mapping"/></configuration>\n', nul=False
)
HEADER = text_message(3, header_xml("MOLLI", limits={"set": 7}), nul=False)
BUCKET = struct.pack("<H", 1050) + bytes(400)
"""A message of a kind that no external module reads (an acquisition bucket)."""


class Module:
    """The started module, and the connection that it made."""

    def __init__(self, engine):
        self.engine = engine
        self._listening = socket.create_server(("127.0.0.1", 0))
        # A busy machine must not make slices late: lateness is not what is tested.
        own = {"OMP_NUM_THREADS": "1", "MYOSTREAM_ENGINE": engine, "MYOSTREAM_BUDGET_MS": "60000"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "inline.serving.gadgetron", str(self._listening.getsockname()[1])],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**ENVIRONMENT, **own},
        )

    def connected(self):
        """The conversation on its connection."""
        self._listening.settimeout(200)
        with self._listening:
            connection, _ = self._listening.accept()
        return Conversation(connection)

    def stop(self):
        self._process.kill()
        self._process.communicate()
        self._listening.close()

    def ended(self, reply):
        """The module has ended with code 0 and without noise."""
        __tracebackhide__ = True
        try:
            said = self._process.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            self._process.kill()
            said = "it hangs\n" + self._process.communicate()[0]
        code = self._process.returncode
        expect(code == 0, f"exit code {code}\n{said[-3000:]}", reply)
        for noise in ("Traceback", "terminate called"):
            expect(noise not in said, f"{noise!r} in its output\n{said[-3000:]}", reply)
        expect(not reply.texts, "a text came, which Gadgetron takes for an illegal message", reply)


@pytest.fixture
def run():
    """Start the module, send messages, end the stream in one of three ways; returns the reply."""
    started = []

    def made(*messages, close=True, shut=False, reset=False, engine="torch"):
        __tracebackhide__ = True
        module = Module(engine)
        started.append(module)
        conversation = module.connected()
        conversation.send(*messages)
        if reset:
            reply = conversation.reply
            conversation.reset()
        else:
            reply = conversation.finish(close=close, shut=shut, seconds=90.0)
        module.ended(reply)
        return reply

    yield made
    for module in started:
        module.stop()


def test_whole_stream(run):
    only_map(passed(run(CONFIGURATION, HEADER, *IMAGES)))


@pytest.mark.slow
def test_shut_down_without_close(run):
    reply = run(CONFIGURATION, HEADER, *IMAGES, close=False, shut=True)
    only_map(reply, may={Flag.EARLY_CLOSE})
    expect(reply.lost == 0, "images were lost", reply)


@pytest.mark.slow
def test_connection_reset_in_the_stream(run):
    run(CONFIGURATION, HEADER, *IMAGES[:5], reset=True, engine="auto")


@pytest.mark.slow
def test_connection_reset_before_the_first_image(run):
    run(CONFIGURATION, HEADER, reset=True)


@pytest.mark.slow
def test_connection_reset_at_once(run):
    run(reset=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "messages",
    [(), (CONFIGURATION,), (CONFIGURATION, HEADER)],
    ids=["nothing", "configuration", "header"],
)
def test_no_image_at_all(run, messages):
    passed(run(*messages))


@pytest.mark.slow
def test_images_that_make_no_series(run):
    images = series(whole(PHANTOM.molli())[:2], [{"SequenceDescription": "localizer"}] * 2)
    reply = passed(run(CONFIGURATION, HEADER, *images))
    expect(not reply.results, "no result is right", reply)


@pytest.mark.slow
def test_a_message_that_is_not_read_after_the_images(run):
    reply = run(CONFIGURATION, HEADER, *IMAGES, BUCKET)
    only_map(reply, may={Flag.EARLY_CLOSE})
    expect(reply.lost == 0, "images were lost", reply)


@pytest.mark.slow
def test_a_message_that_is_not_read_before_the_images(run):
    """Where the next message begins cannot be known; the module ends all the same."""
    run(CONFIGURATION, HEADER, BUCKET, *IMAGES)


@pytest.mark.slow
def test_the_end_comes_in_the_middle_of_an_image(run):
    head, attributes, data = IMAGES[5]
    half = struct.pack("<H", 1022) + head + struct.pack("<Q", len(attributes)) + attributes + data[:5000]
    reply = run(CONFIGURATION, HEADER, *IMAGES[:5], half, close=False, shut=True)
    expect(reply.lost == 0, "complete images were lost", reply)


@pytest.mark.slow
def test_header_and_configuration_in_latin_1(run):
    configuration = text_message(
        2, "<configuration><!-- Prüfung --></configuration>".encode("latin-1"), nul=False
    )
    xml = header_xml("MOLLI Herzkörper", limits={"set": 7})
    header = text_message(3, xml.encode("latin-1"), nul=False)
    only_map(passed(run(configuration, header, *IMAGES)))
