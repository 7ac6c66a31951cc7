"""``myostream stream`` between programs that nobody here wrote: the serialisation of the ismrmrd package."""

import contextlib
import io
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from ismrmrd.serialization import ConfigFile, ProtocolDeserializer, ProtocolSerializer
from typer.testing import CliRunner

from inline import engine_selection
from inline.cli.commands import app
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from inline.replay.replies import records

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "inline", "stream", "--engine", "torch"]
runner = CliRunner()


def package_image(image):
    """An image as the ismrmrd package holds it, from the bytes of the wire."""
    body = image.header.pack() + len(image.attributes).to_bytes(8, "little") + image.attributes + image.data
    return ismrmrd.Image.deserialize_from(io.BytesIO(body).read)


@pytest.fixture(scope="module")
def sent(examination):
    _, header, images = examination
    return ismrmrd.xsd.CreateFromDocument(header), [package_image(image) for image in images]


@pytest.fixture(scope="module")
def stream(sent):
    """Stream of ``ismrmrd_hdf5_to_stream``: a configuration, the header, the images, close."""
    header, images = sent
    file = io.BytesIO()
    serializer = ProtocolSerializer(file)
    for each in (ConfigFile("default.xml"), header, *images):
        serializer.serialize(each)
    serializer.close()
    return file.getvalue()


def read(data):
    """Everything in a stream, by the package; it raises where the stream does not end with a close."""
    file = io.BytesIO(data)
    objects = list(ProtocolDeserializer(file).deserialize())
    assert file.read() == b""
    return objects


def same(one, other):
    return (
        bytes(one.getHead()) == bytes(other.getHead())
        and one.attribute_string == other.attribute_string
        and one.data.dtype == other.data.dtype
        and np.array_equal(one.data, other.data)
    )


def ours(image):
    """An image of the package as a message of ours, for :func:`inline.replay.replies.records`."""
    pixels = np.ascontiguousarray(image.data)
    attributes = image.attribute_string.encode()
    return Image(ImageHeader.unpack(bytes(image.getHead())), attributes, pixels.tobytes())


def check(data, sent):
    header, images = sent
    first, *rest = read(data)
    assert first.toXML() == header.toXML()
    assert all(isinstance(each, ismrmrd.Image) for each in rest)
    came = [each for each in rest if each.image_series_index < 10]
    assert len(came) == len(images)
    assert all(same(one, other) for one, other in zip(came, images, strict=True))
    found = [record for record, _ in records([ours(each) for each in rest])]
    assert [(each["slice_index"], each["quantity"]) for each in found] == [
        (0, "T1"),
        (0, "T2"),
        (1, "T1"),
        (1, "T2"),
    ]
    assert not any("late" in each["flags"] or each["error"] for each in found)
    maps = [each for each in rest if each.meta.get("DataRole", [])[1:2] == ["Quantitative"]]
    assert len(maps) == 4
    assert all(np.median(each.data[each.data > 0]) > 100 for each in maps)


@pytest.fixture
def stream_command(ring_engine, monkeypatch):
    """Runs the command in this process, with an engine that needs no time."""
    monkeypatch.setattr(engine_selection, "make_engine", lambda settings, **_kwargs: ring_engine)
    return lambda *arguments: runner.invoke(app, ["stream", *map(str, arguments)])


def test_named_pipes_that_a_program_opens_in_either_order(stream_command, stream, sent, tmp_path):
    into, out = tmp_path / "in", tmp_path / "out"
    os.mkfifo(into)
    os.mkfifo(out)
    # The reader's end is opened first: the command waits for nobody to open the other one.
    received = []
    peers = [
        threading.Thread(target=lambda: received.append(out.read_bytes())),
        threading.Thread(target=into.write_bytes, args=(stream,)),
    ]
    for peer in peers:
        peer.start()
    ended = stream_command("-i", into, "-o", out)
    for peer in peers:
        peer.join(timeout=60)
    assert ended.exit_code == 0, ended.output
    check(received[0], sent)


def test_files_and_a_configuration_in_place_of_the_streams(stream_command, stream, sent, tmp_path):
    (tmp_path / "in").write_bytes(stream)
    ended = stream_command("-i", tmp_path / "in", "-o", tmp_path / "out", "--config", "passthrough")
    assert (ended.exit_code, ended.stdout) == (0, "")
    header, *images = read((tmp_path / "out").read_bytes())
    assert header.toXML() == sent[0].toXML()
    assert all(same(one, other) for one, other in zip(images, sent[1], strict=True))


@pytest.mark.parametrize(
    ("keep", "images", "reason"),
    [
        (-2, 22, "ended without a close message"),
        (-1000, 21, "broke off"),
        (0, 0, "ended without a close message"),
    ],
)
def test_a_broken_stream_is_one_line_and_what_came_has_passed(
    keep, images, reason, stream_command, stream, sent, tmp_path
):
    (tmp_path / "in").write_bytes(stream[:keep])
    ended = stream_command("-i", tmp_path / "in", "-o", tmp_path / "out")
    assert ended.exit_code == 1
    (line,) = (line for line in " ".join(ended.output.split("\n")).split("myostream:")[1:])
    assert reason in line
    came = [
        each
        for each in read((tmp_path / "out").read_bytes())
        if isinstance(each, ismrmrd.Image) and each.image_series_index < 10
    ]
    assert all(same(one, other) for one, other in zip(came, sent[1][:images], strict=True))


@pytest.mark.parametrize(("keep", "replaced"), [(0, False), (100, False), (-1000, True), (None, True)])
def test_an_earlier_file_stays_until_images_have_come(keep, replaced, stream_command, stream, tmp_path):
    into, out = tmp_path / "in", tmp_path / "out"
    into.write_bytes(stream[:keep])
    out.write_bytes(b"earlier")
    out.chmod(0o640)
    ended = stream_command("-i", into, "-o", out)
    assert ended.exit_code == (0 if keep is None else 1)
    assert (out.read_bytes() != b"earlier") is replaced
    assert sum(isinstance(each, ismrmrd.Image) for each in read(out.read_bytes())) > 20 if replaced else True
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    assert sorted(tmp_path.iterdir()) == [into, out]


def test_an_earlier_file_stays_while_no_input_has_come(stream_command, stream, sent, tmp_path):
    into, out = tmp_path / "in", tmp_path / "out"
    os.mkfifo(into)
    out.write_bytes(b"earlier")

    seen = []

    def write():
        with into.open("wb") as file:
            seen.append(out.read_bytes())
            file.write(stream)

    peer = threading.Thread(target=write)
    peer.start()
    assert stream_command("-i", into, "-o", out).exit_code == 0
    peer.join(timeout=60)
    assert seen == [b"earlier"]
    check(out.read_bytes(), sent)


@pytest.mark.parametrize("made", [tempfile.NamedTemporaryFile, tempfile.TemporaryFile])
def test_the_handle_of_an_earlier_file_reads_the_stream(made, stream_command, stream, sent, tmp_path):
    (tmp_path / "in").write_bytes(stream)
    with made(dir=tmp_path) as file:
        file.write(b"earlier" * 1_000_000)
        file.flush()
        name = file.name if isinstance(file.name, str) else f"/dev/fd/{file.fileno()}"
        assert stream_command("-i", tmp_path / "in", "-o", name).exit_code == 0
        file.seek(0)
        check(file.read(), sent)


def test_a_file_in_a_folder_that_cannot_be_written_is_overwritten_in_its_place(
    stream_command, stream, sent, tmp_path
):
    (tmp_path / "in").write_bytes(stream)
    out = tmp_path / "folder" / "out"
    out.parent.mkdir()
    out.write_bytes(b"earlier")
    number = out.stat().st_ino
    out.parent.chmod(0o500)
    try:
        assert stream_command("-i", tmp_path / "in", "-o", out).exit_code == 0
    finally:
        out.parent.chmod(0o700)
    assert out.stat().st_ino == number, "not renamed, which root may do"
    check(out.read_bytes(), sent)


def test_an_earlier_file_is_replaced_by_a_stream_without_images_that_is_closed(
    stream_command, sent, tmp_path
):
    file = io.BytesIO()
    serializer = ProtocolSerializer(file)
    serializer.serialize(sent[0])
    serializer.close()
    into, out = tmp_path / "in", tmp_path / "out"
    into.write_bytes(file.getvalue())
    out.write_bytes(b"earlier" * 10_000)
    assert stream_command("-i", into, "-o", out).exit_code == 0
    (header,) = read(out.read_bytes())
    assert header.toXML() == sent[0].toXML()


def test_standard_input_is_not_overwritten(stream, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(stream)
    with file.open("rb") as opened:
        ended = subprocess.run([*COMMAND, "-o", file], stdin=opened, capture_output=True, check=False)
    assert ended.returncode == 1
    assert b"would be overwritten" in ended.stderr
    assert file.read_bytes() == stream


def feed(file, data):
    with contextlib.suppress(BrokenPipeError):
        file.write(data)
        file.close()


@pytest.mark.slow
def test_without_standard_output_it_is_refused_before_the_network_is_loaded(stream, tmp_path):
    (tmp_path / "in").write_bytes(stream)
    command = ["bash", "-c", 'exec "$0" -m inline stream -i "$1" >&-', sys.executable, tmp_path / "in"]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr == "myostream: standard output cannot be written: Bad file descriptor\n"


def test_a_reader_that_goes_away_ends_it_quietly(stream):
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        feeding = threading.Thread(target=feed, args=(process.stdin, stream[:-2] * 100))
        feeding.start()
        process.stdout.read(100)
        process.stdout.close()
        assert process.wait(timeout=120) == 1
        errors = process.stderr.read().decode()
        feeding.join(timeout=60)
    assert "Traceback" not in errors
    assert not [line for line in errors.splitlines() if line.startswith("myostream:") or " ERROR " in line]


@pytest.mark.slow
def test_a_signal_ends_it_with_what_is_in_flight(stream, sent):
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(stream[:-2])
        process.stdin.flush()
        # Header and first image are back: the handlers are in place.
        received = process.stdout.read(50_000)
        process.send_signal(signal.SIGTERM)
        received += process.stdout.read()
        assert process.wait(timeout=60) == 1
        errors = process.stderr.read().decode()
    assert "the program was stopped after" in errors
    images = [each for each in read(received) if isinstance(each, ismrmrd.Image)]
    assert all(
        same(one, other) for one, other in zip(images, sent[1], strict=False) if one.image_series_index < 10
    )


def test_originals_are_bit_exact_maps_come_back_and_nothing_else_is_printed(stream, sent, tmp_path):
    """Whatever a library prints, even past Python's own streams, goes to standard error."""
    (tmp_path / "noisy.py").write_text(
        "import os\n"
        "from inline.serving.slices import Slices\n"
        "send = Slices._send\n"
        "def noisy(self, *result):\n"
        "    print('a library prints', flush=True)\n"
        "    os.write(1, b'so does C\\n')\n"
        "    send(self, *result)\n"
        "Slices._send = noisy\n"
        "from inline import engine_selection\n"
        "from tests.shapes import RingEngine\n"
        "engine_selection.make_engine = lambda *_, **__: RingEngine()\n"
        "from inline.cli.commands import app\n"
        "app(['stream'])\n"
    )
    ended = subprocess.run(
        [sys.executable, tmp_path / "noisy.py"],
        input=stream,
        capture_output=True,
        timeout=200,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    assert ended.returncode == 0, ended.stderr.decode()
    check(ended.stdout, sent)
    assert b"summary: 22 images came" in ended.stderr
    assert ended.stderr.count(b"a library prints") == ended.stderr.count(b"so does C") == 4


@pytest.mark.parametrize(
    ("arguments", "errors"),
    [
        (["-i", "missing"], "there is no missing to read"),
        (["-i", "."], "is a folder and no stream"),
        (["-i", "h5", "-o", "out"], "is an HDF5 file and no stream"),
        (["-i", "same", "-o", "same"], "would be overwritten"),
        (["-i", "same", "-o", "no/where"], "cannot be written"),
    ],
)
def test_files_that_cannot_be_used_are_one_line(arguments, errors, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (tmp_path / "same").write_bytes(b"\x04\0")
    kept = sorted(tmp_path.iterdir())
    ended = runner.invoke(app, ["stream", *arguments])
    assert ended.exit_code == 1
    assert errors in ended.output.replace("\n", " ")
    assert sorted(tmp_path.iterdir()) == kept
