"""The commands, as a user types them."""

import errno
import importlib.metadata
import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import h5py
import ismrmrd
import msgpack
import numpy as np
import pytest
import zmq
from typer.testing import CliRunner

import inline
from inline.cli.commands import app
from inline.cli.options import PREPARING
from inline.data.errors import MyostreamError
from inline.emit.publisher import ECV_TOPIC, SUMMARY_TOPIC, TOPIC
from inline.mrd.files import write_images
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Close, Image, Text
from inline.mrd.protocol import Decoder, encode
from inline.replay.simulate import truth_file

runner = CliRunner()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    made = tmp_path_factory.mktemp("cli") / "examination.h5"
    result = runner.invoke(
        app, ["synth", "-o", str(made), "--slices", "1", "--size", "160", "--scheme", "4(1)3(1)2"]
    )
    assert result.exit_code == 0, result.output
    assert "Simulated 1 slice, T1 (MOLLI) and T2 (T2-prep): 12 images in" in result.output.replace("\n", " ")
    return made


def test_synth_writes_what_ismrmrd_reads_and_the_truth_beside_it(file):
    dataset = ismrmrd.Dataset(str(file), "dataset", create_if_needed=False)
    assert dataset.number_of_images("image_1") == 9
    assert dataset.number_of_images("image_2") == 3
    header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
    assert len(header.sequenceParameters.TI) == 9
    dataset.close()
    truth = np.load(truth_file(file))
    assert truth["t1_ms"].shape == (1, 160, 160)
    assert set(np.unique(truth["labels"])) == {0, 1, 2}


def test_the_version_and_the_commit_of_a_checkout():
    result = runner.invoke(app, ["--version"])
    assert result.exit_code == 0
    found = re.fullmatch(r"myostream (\S+?)(?:, commit ([0-9a-f]{12})(?:-dirty)?)?\n", result.output)
    assert found[1] == importlib.metadata.version("myostream")
    git = ["git", "-C", str(Path(inline.__file__).parents[1]), "rev-parse", "--short=12", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, check=False)
    assert (found[2] or "") == head.stdout.strip()


@pytest.mark.parametrize("name", [".", "/", ""])
def test_synth_refuses_a_folder(name):
    result = runner.invoke(app, ["synth", "-o", name])
    assert result.exit_code == 1
    assert "give the name of a file to write" in result.output.replace("\n", " ")


def test_synth_and_demo_replace_simulated_examinations_alone(tmp_path):
    own = tmp_path / "examination.h5"
    own.write_bytes(b"a measurement")
    for command in (["synth", "-o", str(own)], ["demo", "-o", str(tmp_path)]):
        result = runner.invoke(app, command)
        assert result.exit_code == 1
        assert "is there already, without examination.truth.npz" in result.output.replace("\n", " ")
    assert own.read_bytes() == b"a measurement"
    (tmp_path / "examination.truth.npz").touch()
    replaced = runner.invoke(app, ["synth", "-o", str(own), "--slices", "1", "--size", "96"])
    assert replaced.exit_code == 0, replaced.output


def test_a_report_of_another_kind_is_refused_before_the_replay(file, tmp_path):
    result = runner.invoke(app, ["replay", str(file), "--report", str(tmp_path / "report.docx")])
    assert result.exit_code == 1
    assert "it ends in .png or .pdf" in result.output.replace("\n", " ")
    twice = runner.invoke(app, ["replay", str(file), *2 * ["--report", str(tmp_path / "report.png")]])
    assert "is given for two outputs" in twice.output.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_replay_starts_a_server_and_writes_everything(file, serving, tmp_path, monkeypatch):
    monkeypatch.setenv("MYOSTREAM_ENGINE", "torch")  # it compiles nothing
    command = ["replay", str(file), "-o", str(tmp_path / "out.h5"), "--json", str(tmp_path / "out.json")]
    result = runner.invoke(app, [*command, "--overlays", str(tmp_path / "overlays")])
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(PREPARING)
    assert "12 images sent, 0 lost" in result.output.replace("\n", " ")
    assert "\n12 images came. " in result.output  # the summary of the server, without its prefix
    content = json.loads((tmp_path / "out.json").read_text())
    assert list(content) == ["results", "ecv", "messages"]  # docs/replay.md
    assert [each["quantity"] for each in content["results"]] == ["T1", "T2"]
    assert content["messages"][-1].startswith("DBG myostream: 12 images came. ")
    dataset = ismrmrd.Dataset(str(tmp_path / "out.h5"), "dataset", create_if_needed=False)
    assert dataset.read_image("image_5010", 0).data.shape == (1, 1, 160, 160)
    assert dataset.number_of_images("image_1") == 9
    dataset.close()
    assert len(list((tmp_path / "overlays").glob("slice-00-T*.png"))) == 2
    # What came back may be replayed: earlier results pass like any image and are not measured again.
    with serving() as server:
        address = ["--server", f"{server.address[0]}:{server.address[1]}"]
        command = ["replay", str(tmp_path / "out.h5"), "-o", str(tmp_path / "again.h5")]
        again = runner.invoke(app, [*command, *address])
    assert again.exit_code == 0, again.output
    assert "18 images sent, 0 lost" in again.output.replace("\n", " ")
    dataset = ismrmrd.Dataset(str(tmp_path / "again.h5"), "dataset", create_if_needed=False)
    # Earlier results have the numbers 5010 to 5022; new ones keep clear of them and of those that may follow.
    assert dataset.number_of_images("image_5010") == 1
    added = {int(name[6:]) for name in dataset.list() if name.startswith("image_")} - set(range(5023))
    assert len(added) == 6
    assert min(added) >= 6022
    assert max(added) < 7000
    dataset.close()
    assert "0 lost; 2 results; " in again.output.replace("\n", " ")


@pytest.mark.parametrize("lost", [0, 2])
def test_replay_counts_rewritten_images_and_lost_ones(lost, file):
    """A peer that writes attributes and headers anew, as those on libismrmrd do, and loses images or not."""

    def respond():
        connection, _ = peer.accept()
        with connection:
            decoder, images = Decoder(), []
            while not decoder.closed:
                images += [
                    each for each in decoder.receive(connection.recv(1 << 20)) if isinstance(each, Image)
                ]
            rewritten = [
                replace(image, attributes=b"<a/>", header=replace(image.header, attribute_string_len=4))
                for image in images[:3]
            ]
            renumbered = replace(images[3], header=replace(images[3].header, image_series_index=9))
            for image in (*rewritten, renumbered, *images[4 + lost :]):
                connection.sendall(encode(image))
            connection.sendall(encode(Close()))

    with socket.create_server(("127.0.0.1", 0)) as peer:
        thread = threading.Thread(target=respond)
        thread.start()
        result = runner.invoke(app, ["replay", str(file), "--server", f"127.0.0.1:{peer.getsockname()[1]}"])
        thread.join(timeout=30)
    line = f"12 images sent, {lost} lost, 3 with rewritten attributes, 1 with a rewritten header; 0 results;"
    assert line in " ".join(result.output.split())
    assert result.exit_code == (1 if lost else 3)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    with h5py.File(tmp_path / "odd.h5", "w") as made:
        made["dataset/image_1/data"] = np.zeros((3, 1, 1, 4, 4), np.uint16)
    result = runner.invoke(app, ["replay", str(tmp_path / "odd.h5")])
    assert result.exit_code == 1
    assert "dataset/image_1 (uint16, 3 x 1 x 1 x 4 x 4) has no image headers" in " ".join(
        result.output.split()
    )
    assert "Traceback" not in result.output


def test_a_replay_in_which_no_slice_gives_a_result_says_why_and_ends_with_code_3(serving, tmp_path):
    header = ImageHeader(field_of_view=(96.0, 96.0, 8.0), image_series_index=1)
    untimed = [
        Image.from_pixels(
            np.full((1, 1, 64, 64), number + 1, np.uint16),
            replace(header, set=number),
            {"SequenceDescription": "T1map_MOLLI"},
        )
        for number in range(8)
    ]
    write_images(tmp_path / "untimed.h5", "<ismrmrdHeader/>", untimed)
    with serving() as server:
        address = ["--server", f"{server.address[0]}:{server.address[1]}"]
        result = runner.invoke(app, ["replay", str(tmp_path / "untimed.h5"), *address])
        passed = runner.invoke(
            app, ["replay", str(tmp_path / "untimed.h5"), *address, "--config", "passthrough"]
        )
    assert result.exit_code == 3, result.output
    text = " ".join(result.output.split())
    assert "8 images sent, 0 lost; 0 results, 1 error; " in text
    assert "0 T1 - - - - no result: no" in text
    assert "Levels" not in text
    assert passed.exit_code == 0, passed.output
    assert "Myocardium by slice" not in passed.output


def test_replay_without_post_contrast_t1_states_that_a_haematocrit_is_not_used(file, serving):
    with serving() as server:
        address = f"{server.address[0]}:{server.address[1]}"
        result = runner.invoke(app, ["replay", str(file), "--server", address, "--haematocrit", "0.42"])
    assert result.exit_code == 0, result.output
    assert "Note: The haematocrit 0.42 is not used: no native and post" in " ".join(result.output.split())


def test_replay_in_real_time_to_a_running_server(file, serving):
    with serving() as server:
        address = f"{server.address[0]}:{server.address[1]}"
        result = runner.invoke(app, ["replay", str(file), "--server", address, "--realtime", "--speed", "40"])
    assert result.exit_code == 0, result.output
    # 12 heartbeats of 900 ms and a breath of 5 s, forty times as fast: a third of a second at least.
    seconds = float(re.search(r"; ([\d.]+) s from the first image", " ".join(result.output.split()))[1])
    assert seconds > 0.35


@pytest.mark.slow  # by default: emit/test_access, serving/test_logs, serving/test_server
def test_a_server_publishes_to_clients_with_keys_logs_a_line_per_event_and_ends_with_code_0(file, tmp_path):
    made = runner.invoke(app, ["keys", str(tmp_path / "keys"), "--client", "reader"])
    assert made.exit_code == 0, made.output
    known = ["--server-key", made.output.split("--server-key ")[1].split()[0]]
    known += ["--keys", made.output.split(" --keys ")[1].split()[0]]
    command = [sys.executable, "-m", "inline", "serve", "--port", "0", "--zmq", "tcp://127.0.0.1:*"]
    # torch is there soonest: it compiles nothing.
    command += ["--zmq-keys", str(tmp_path / "keys"), "--budget-ms", "60000", "--engine", "torch"]
    log = tmp_path / "log"
    with log.open("w") as errors:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            address = server.stdout.readline().split("listening on ")[1].split()[0]
            published = server.stdout.readline().split("publishing on ")[1].strip()
            heard = subprocess.Popen(
                [sys.executable, "-m", "inline", "listen", published, "--count", "2", "--json", *known],
                stdout=subprocess.PIPE,
                text=True,
            )
            lines = []
            reader = threading.Thread(target=lambda: lines.extend(heard.stdout))
            reader.start()
            # A subscriber hears nothing that was published before it had connected: repeat until it has.
            end = time.monotonic() + 120
            while reader.is_alive() and time.monotonic() < end:
                assert runner.invoke(app, ["replay", str(file), "--server", address]).exit_code == 0
                reader.join(timeout=0.5)
            assert heard.wait(timeout=20) == 0
            heard.stdout.close()
        finally:
            server.terminate()
            assert server.wait(timeout=60) == 0
            server.stdout.close()
    messages = [json.loads(line) for line in lines]
    slices = [each for each in messages if each["schema"].startswith("myostream.slice/1")]
    assert {each["quantity"] for each in slices} <= {"T1", "T2"}
    assert len(slices) == 2
    assert all(each["schema"].startswith("myostream.summary/1") for each in messages if each not in slices)
    session = [line for line in log.read_text().splitlines() if " inline.serving.s" in line]
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} (INFO|WARNING) "
    assert all(re.match(stamp, line) for line in session)
    assert session[0].endswith("connected")
    end = next(number for number, line in enumerate(session) if " closed: " in line)
    assert "closed: images=12 slices=2 results=2 late=0 skipped=0" in session[end]
    assert sum(" result: series=" in line and " quantity=T" in line for line in session[:end]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replay", "/"], "/ is a folder; give the name of a file"),
        (["replay", "/nowhere.h5"], "there is no file /nowhere.h5"),
        (["package", "fire", "/nowhere.tar", "-o", "{at}"], "there is no file /nowhere.tar"),
        (["package", "openrecon", "--image", "/nowhere.tar", "-o", "{at}"], "there is no file /nowhere.tar"),
        *(([command, "", "-o", "{at}"], "an empty path") for command in ("process", "replay", "cohort")),
        (["keys", ""], "an empty path"),
        (["serve", "--budget-ms", "0"], "budget_ms: Input should be greater than 0"),
        (["replay", "{file}", "--config", "foo"], "no configuration 'foo'; there are mapping, passthrough"),
        (["replay", "{file}", "--speed", "2"], "--speed goes with --realtime"),
        (["replay", "{file}", "--settings", "/nowhere.toml"], "/nowhere.toml cannot be read"),
        (["replay", "{file}", "--settings", "x", "--server", "127.0.0.1:1"], "--server has its own"),
        (["process", "{file}", "--ti", "100,200"], "are of arrays (npz, npy, cfl), and none is given"),
        (["process", "/nowhere", "--ti", "100,200"], "there is no file or folder /nowhere"),
        (["process", "{file}", "--spacing", "1.5"], "are of arrays (npz, npy, cfl), and none is given"),
    ],
)
def test_user_errors_are_one_line_before_the_work(arguments, message, file, tmp_path, monkeypatch):
    monkeypatch.setattr("inline.cli.replay.print_progress", lambda _: pytest.fail("the work began"))
    result = runner.invoke(app, [each.format(file=file, at=tmp_path / "out") for each in arguments])
    assert result.exit_code == 1
    assert result.output.startswith("myostream: ")
    assert message in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["synth", "-o", "/tmp/x.h5", "--scheme", "five"], "not a MOLLI scheme"),
        (["serve", "--settings", "/nowhere.toml"], "cannot be read"),
        (["serve", "--zmq", "tcp://*:5560"], "could be read by every host that reaches it"),
        (["serve", "--zmq", "tcp://127.0.0.1:99999"], "no port from 0 to 65535"),
        (["serve", "--zmq", "tcp://*:5560", "--zmq-keys", "/nowhere"], "cannot be read"),
        (["listen", "tcp://127.0.0.1:99999"], "no port from 0 to 65535"),
        (["serve", "--zmq", "127.0.0.1:5961"], "names no transport; give tcp://127.0.0.1:5961"),
        (["serve", "--port", "9312", "--page-port", "9312"], "--port and --page-port are both 9312"),
        (["listen", "127.0.0.1:5961"], "names no transport; give tcp://127.0.0.1:5961"),
        (["listen", "nowhere://127.0.0.1:5961"], "no address to subscribe to"),
        (["replay", "{file}", "--server", "127.0.0.1:1"], "start one with: myostream serve --port 1"),
    ],
)
def test_mistakes_are_answered_with_a_message(arguments, message, file):
    result = runner.invoke(app, [each.format(file=file) for each in arguments])
    assert result.exit_code != 0
    assert message in result.output.replace("\n", " ").replace("│", "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["{option}", "{file}"], "would be overwritten"),
        (["{option}", "{at}/hard"], "would be overwritten"),
        (["{option}", "{at}/symbolic"], "would be overwritten"),
        (["{option}", "{truth}"], "would be overwritten"),
        (["{option}", "{at}/no/out"], "there is no folder"),
        (["{option}", "{at}"], "is a folder"),
        (["{option}", "/dev/full"], "is no regular file"),
        (["-o", "{at}/x", "--json", "{at}/../{name}/x"], "for two outputs"),
        (["--overlays", "{file}"], "is no folder"),
        (["--overlays", "/proc/overlays"], "cannot be written"),
    ],
)
@pytest.mark.parametrize("option", ["-o", "--json"])
def test_replay_looks_before_it_works_where_it_will_write(option, arguments, text, file, tmp_path):
    (tmp_path / "hard").hardlink_to(file)
    (tmp_path / "symbolic").symlink_to(file)
    names = {"at": tmp_path, "name": tmp_path.name, "file": file, "truth": file.with_suffix(".truth.npz")}
    before = file.read_bytes()
    given = [each.format(option=option, **names) for each in arguments]
    # A server is not even looked for.
    result = runner.invoke(app, ["replay", str(file), "--server", "127.0.0.1:1", *given])
    assert result.exit_code == 1
    assert text in result.output
    assert len(result.output.splitlines()) == 1  # a line for a log, however long
    assert file.read_bytes() == before


@pytest.mark.parametrize("full", ["out.h5", "out.json", "slice-00-T1-series-1.png"])
def test_a_full_disk_is_one_line_and_spoils_nothing_else(full, file, serving, tmp_path, monkeypatch):
    outputs = ["out.h5", "out.json", "slice-00-T1-series-1.png", "slice-00-T2-series-2.png"]
    for name in outputs:
        (tmp_path / name).write_text("earlier")
    replaced = Path.replace

    def replace_if_there_is_room(self, target):
        if Path(target).name == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replaced(self, target)

    monkeypatch.setattr(Path, "replace", replace_if_there_is_room)
    command = [
        "-o",
        str(tmp_path / "out.h5"),
        "--json",
        str(tmp_path / "out.json"),
        "--overlays",
        str(tmp_path),
    ]
    with serving() as server:
        address = f"{server.address[0]}:{server.address[1]}"
        result = runner.invoke(app, ["replay", str(file), "--server", address, *command])
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == (
        f"myostream: {tmp_path / full} could not be written: No space left on device; "
        "the earlier file of that name is kept"
    )
    assert "0 lost; 2 results; " in result.output
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(outputs)
    for name in outputs:
        assert ((tmp_path / name).read_bytes() == b"earlier") == (name == full)
        assert name == full or stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_old_results_are_not_reported_as_new(file, serving, tmp_path):
    with serving() as server:
        address = ["--server", f"{server.address[0]}:{server.address[1]}"]
        runner.invoke(app, ["replay", str(file), "-o", str(tmp_path / "results.h5"), *address])
        command = ["replay", str(tmp_path / "results.h5"), "--json", str(tmp_path / "again.json"), *address]
        result = runner.invoke(app, [*command, "--overlays", str(tmp_path / "again")])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "again.json").read_text())["results"]
    assert [(each["quantity"], each["series_index"]) for each in found] == [("T1", 1), ("T2", 2)]
    assert "Overlays: 2 in" in result.output
    assert "2 results of an earlier run were among the images" in " ".join(result.output.split())
    assert len(list((tmp_path / "again").iterdir())) == 2


@contextmanager
def peer_that_adds(*added):
    """A server that sends all images back and then further ones; gives its address."""

    def respond():
        connection, _ = peer.accept()
        with connection:
            decoder = Decoder()
            while not decoder.closed:
                for each in decoder.receive(connection.recv(1 << 20)):
                    if isinstance(each, Image):
                        connection.sendall(encode(each))
            for each in (*added, Close()):
                connection.sendall(encode(each))

    with socket.create_server(("127.0.0.1", 0)) as peer:
        thread = threading.Thread(target=respond)
        thread.start()
        yield f"127.0.0.1:{peer.getsockname()[1]}"
        thread.join(timeout=30)


def test_no_message_of_a_peer_ends_a_replay(file, tmp_path):
    """Results that are none, a markup of the terminal's in others, a map without its scale."""
    record = {
        "series_index": 1,
        "slice_index": 0,
        "quantity": "T1",
        "regions": [],
        "contours": None,
        "flags": ["[/red]\x1b[2J"],
        "notes": ["[/b]\x1b[2J"],
    }
    added = [
        Image.from_pixels(np.full((1, 1, 8, 8), number, np.uint16), ImageHeader(), {"MYOSTREAM_RESULT": text})
        for number, text in enumerate(["[]", '{"quantity": "T1", "slice_index": 0}', json.dumps(record)])
    ]
    files = ["-o", str(tmp_path / "out.h5"), "--json", str(tmp_path / "out.json")]
    with peer_that_adds(Text("[/i]\x1b[2J\nsecond line"), *added) as address:
        result = runner.invoke(app, ["replay", str(file), "--server", address, *files])
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "12 images sent, 0 lost; 1 result;" in text
    assert text.count("is no record of a result") == 2
    assert "[/i]\\x1b[2J second line" in text
    assert "[/red]\\x1b[2J" in text
    assert "Note: 0 T1: [/b]\\x1b[2J" in text
    assert "\x1b" not in result.output
    assert len(json.loads((tmp_path / "out.json").read_text())["results"]) == 1
    with peer_that_adds(*added) as address:
        result = runner.invoke(
            app, ["replay", str(file), "--server", address, *files, "--overlays", str(tmp_path / "overlays")]
        )
    assert result.exit_code == 1
    assert "the map has no scale" in result.output.splitlines()[-1]
    assert "Overlays: 0 in" in " ".join(result.output.split())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"\x80\x04."])
def test_a_truth_that_cannot_be_read_ends_no_replay(content, file, serving, tmp_path):
    copy = tmp_path / "copy.h5"
    copy.write_bytes(file.read_bytes())
    (tmp_path / "copy.truth.npz").write_bytes(content)
    with serving() as server:
        address = f"{server.address[0]}:{server.address[1]}"
        result = runner.invoke(app, ["replay", str(copy), "--server", address])
    assert result.exit_code == 0, result.output
    assert "is not the truth of an examination and is not shown" in " ".join(result.output.split())


def test_listen_counts_slices_and_no_ecv(monkeypatch):
    slice_ = {"quantity": "T1", "series_index": 1, "slice_index": 0, "flags": [], "regions": []}
    ecv = {"native": {"series_index": 1, "slice_index": 0}, "post_contrast": None, "haematocrit": None}
    ecv |= {"regions": [], "flags": []}
    sent = iter([[ECV_TOPIC, ecv], [TOPIC, slice_], [ECV_TOPIC, ecv], [TOPIC, slice_], [TOPIC, slice_]])

    class Socket:
        def recv_multipart(self):
            topic, message = next(sent)
            return [topic, msgpack.packb(message)]

        def close(self, linger):
            pass

    monkeypatch.setattr("inline.emit.publisher.subscribe", lambda *_, **__: Socket())
    result = runner.invoke(app, ["listen", "--count", "2", "--json"])
    assert [json.loads(line).get("quantity") for line in result.stdout.splitlines()] == [
        None,
        "T1",
        None,
        "T1",
    ]


@pytest.mark.parametrize("as_json", [False, True])
def test_listen_survives_what_a_publisher_sends(as_json):
    good = {
        "session": "a\x1b[2J",
        "quantity": "T1",
        "series_index": 1,
        "slice_index": 0,
        "flags": [],
        "regions": [],
    }
    messages = [
        [TOPIC, msgpack.packb({"quantity": "T1", "slice_index": 0})],  # without regions
        [TOPIC, msgpack.packb(good | {"regions": [1]})],
        [TOPIC, msgpack.packb(good | {"more": b"bytes"})],
        [TOPIC, msgpack.packb(good | {"more": float("nan")})],
        [TOPIC, b"\xc1\x1b[2J"],
        [SUMMARY_TOPIC, msgpack.packb({"session": "a"})],
        [SUMMARY_TOPIC, msgpack.packb({"session": "a", "text": "\x1b[2J\nb"})],
        [b"myostream.\x1b[2J", b"", b""],
        [TOPIC, msgpack.packb(good)],
    ]
    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        command = [sys.executable, "-m", "inline", "listen", f"tcp://127.0.0.1:{port}", "--count", "1"]
        heard = subprocess.Popen(
            [*command, *(["--json"] if as_json else [])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # A subscriber hears nothing that was published before it had connected: repeat until it has.
        while heard.poll() is None:
            for message in messages:
                publisher.send_multipart(message)
            time.sleep(0.2)
        out, errors = heard.communicate(timeout=20)
    assert heard.returncode == 0, errors
    assert "Traceback" not in errors
    assert "\x1b" not in out + errors
    assert errors.startswith(f"listening on tcp://127.0.0.1:{port}; Ctrl-C ends\n")
    assert errors.count("skipped a message") >= 6
    if as_json:
        assert json.loads(out.splitlines()[-1])["session"] == "a\x1b[2J"
    else:
        assert "a closed: \\x1b[2J\\nb" in out
        assert out.splitlines()[-1] == "series 1 slice 0 T1 no contour"


def test_settings_that_do_not_exist_are_named(tmp_path):
    (tmp_path / "s.toml").write_text("[server]\nprot = 1\n")
    result = runner.invoke(app, ["serve", "--settings", str(tmp_path / "s.toml")])
    assert result.exit_code == 1
    assert "server.prot" in result.output


def test_a_file_without_images_is_named(tmp_path):
    dataset = ismrmrd.Dataset(str(tmp_path / "raw.h5"), "dataset")
    dataset.write_xml_header(b"<ismrmrdHeader/>")
    dataset.close()
    result = runner.invoke(app, ["replay", str(tmp_path / "raw.h5")])
    assert result.exit_code == 1
    assert "holds no images; raw data must be reconstructed first" in " ".join(result.output.split())
    with pytest.raises(MyostreamError, match="holds no images; raw data must be reconstructed first"):
        inline.read_mrd(tmp_path / "raw.h5")


@pytest.mark.parametrize("command", ["replay", "stream"])
def test_a_haematocrit_in_percent_is_one_line_before_the_work(file, command, tmp_path):
    arguments = [str(file)] if command == "replay" else ["-i", str(file)]
    result = runner.invoke(app, [command, *arguments, "--haematocrit", "42"])
    assert result.exit_code == 1
    assert "give 0.42 for 42 %" in result.output.replace("\n", " ")
