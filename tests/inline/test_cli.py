"""The commands, as a user types them."""

import json
import re
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import h5py
import ismrmrd
import numpy as np
import pytest
from typer.testing import CliRunner

from inline.cli import app
from inline.examination import read_truth
from inline.mrd.messages import Close, Image
from inline.mrd.protocol import Decoder, encode

runner = CliRunner()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    made = tmp_path_factory.mktemp("cli") / "examination.h5"
    result = runner.invoke(
        app, ["synth", "-o", str(made), "--slices", "1", "--size", "160", "--scheme", "4(1)3(1)2"]
    )
    assert result.exit_code == 0, result.output
    assert "1 slices, 12 images" in result.output.replace("\n", " ")
    return made


def test_synth_writes_what_ismrmrd_reads_and_the_truth_beside_it(file):
    dataset = ismrmrd.Dataset(str(file), "dataset", create_if_needed=False)
    assert dataset.number_of_images("image_1") == 9
    assert dataset.number_of_images("image_2") == 3
    header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
    assert len(header.sequenceParameters.TI) == 9
    dataset.close()
    truth = read_truth(file)
    assert truth["t1_ms"].shape == (1, 160, 160)
    assert set(np.unique(truth["labels"])) == {0, 1, 2}


def test_replay_starts_a_server_and_writes_everything(file, tmp_path):
    command = ["replay", str(file), "-o", str(tmp_path / "out.h5"), "--json", str(tmp_path / "out.json")]
    result = runner.invoke(app, [*command, "--overlays", str(tmp_path / "pictures")])
    assert result.exit_code == 0, result.output
    assert "12 images sent, 0 lost" in result.output.replace("\n", " ")
    content = json.loads((tmp_path / "out.json").read_text())
    assert [each["quantity"] for each in content["results"]] == ["T1", "T2"]
    dataset = ismrmrd.Dataset(str(tmp_path / "out.h5"), "dataset", create_if_needed=False)
    assert dataset.read_image("image_5010", 0).data.shape == (1, 1, 160, 160)
    assert dataset.number_of_images("image_1") == 9
    dataset.close()
    assert len(list((tmp_path / "pictures").glob("slice-01-T*.png"))) == 2
    # What came back may be replayed: earlier results pass like any image and are not measured again.
    again = runner.invoke(app, ["replay", str(tmp_path / "out.h5"), "-o", str(tmp_path / "again.h5")])
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
    assert "2 maps back" in again.output.replace("\n", " ")


@pytest.mark.parametrize("lost", [0, 2])
def test_replay_tells_rewritten_images_from_lost_ones(lost, file):
    """A peer that writes attributes and headers anew, as those on libismrmrd do, and loses images or not."""

    def answer():
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
        thread = threading.Thread(target=answer)
        thread.start()
        result = runner.invoke(app, ["replay", str(file), "--server", f"127.0.0.1:{peer.getsockname()[1]}"])
        thread.join(timeout=30)
    line = f"12 images sent, {lost} lost, 3 with rewritten attributes, 1 with a rewritten header; 0 maps back"
    assert line in " ".join(result.output.split())
    assert result.exit_code == (1 if lost else 0)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    with h5py.File(tmp_path / "odd.h5", "w") as made:
        made["dataset/image_1/data"] = np.zeros((3, 1, 1, 4, 4), np.uint16)
    result = runner.invoke(app, ["replay", str(tmp_path / "odd.h5")])
    assert result.exit_code == 1
    assert "dataset/image_1 (uint16, 3 x 1 x 1 x 4 x 4) has no image headers" in " ".join(
        result.output.split()
    )
    assert "Traceback" not in result.output


def test_replay_in_real_time_to_a_running_server(file, serving):
    with serving() as server:
        address = f"{server.address[0]}:{server.address[1]}"
        result = runner.invoke(app, ["replay", str(file), "--server", address, "--realtime", "--speed", "40"])
    assert result.exit_code == 0, result.output
    # 12 heartbeats of 900 ms and a breath of 5 s, forty times as fast: a third of a second at least.
    seconds = float(result.output.split("close")[1].split("s")[0])
    assert seconds > 0.35


def test_listen_prints_what_a_server_publishes(file):
    command = [sys.executable, "-m", "inline", "serve", "--port", "0", "--zmq", "tcp://127.0.0.1:*"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().split("listening on ")[1].split()[0]
        published = server.stdout.readline().split("publishing on ")[1].strip()
        heard = subprocess.Popen(
            [sys.executable, "-m", "inline", "listen", published, "--count", "2", "--json"],
            stdout=subprocess.PIPE,
            text=True,
        )
        said = []
        reader = threading.Thread(target=lambda: said.extend(heard.stdout))
        reader.start()
        # A subscriber hears nothing that was published before it had connected: repeat until it has.
        for _ in range(20):
            assert runner.invoke(app, ["replay", str(file), "--server", address]).exit_code == 0
            reader.join(timeout=0.5)
            if not reader.is_alive():
                break
        assert heard.wait(timeout=20) == 0
        heard.stdout.close()
    finally:
        server.terminate()
        server.wait(timeout=30)
        server.stdout.close()
    assert {json.loads(line)["quantity"] for line in said} <= {"T1", "T2"}
    assert len(said) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replay", "/nowhere.h5"], "does not exist"),
        (["synth", "-o", "/tmp/x.h5", "--scheme", "five"], "not a MOLLI scheme"),
        (["serve", "--settings", "/nowhere.toml"], "cannot be read"),
        (["listen", "nowhere"], "no address to subscribe to"),
    ],
)
def test_mistakes_are_answered_with_a_message(arguments, message):
    result = runner.invoke(app, arguments)
    assert result.exit_code != 0
    assert message in result.output.replace("\n", " ").replace("│", "")


@pytest.mark.parametrize("option", ["-o", "--json"])
def test_replay_looks_before_it_works_where_it_will_write(option, file, tmp_path):
    before = file.read_bytes()
    itself = runner.invoke(app, ["replay", str(file), option, str(file)])
    nowhere = runner.invoke(app, ["replay", str(file), option, str(tmp_path / "no" / "out")])
    assert itself.exit_code == nowhere.exit_code == 1
    assert "would be overwritten" in itself.output
    assert "there is no folder" in nowhere.output
    assert len(itself.output.splitlines()) == 1  # a line for a log, however long
    assert file.read_bytes() == before


def test_serve_logs_one_line_per_event_and_ends_with_code_0(file, tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, "-m", "inline", "serve", "--port", "0", "--budget-ms", "60000"]
    with log.open("w") as errors:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            address = server.stdout.readline().split("listening on ")[1].split()[0]
            assert runner.invoke(app, ["replay", str(file), "--server", address]).exit_code == 0
        finally:
            server.terminate()
            assert server.wait(timeout=60) == 0
            server.stdout.close()
    lines = [line for line in log.read_text().splitlines() if " inline.session " in line]
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} (INFO|WARNING) "
    assert all(re.match(stamp, line) for line in lines)
    assert lines[0].endswith("connected")
    assert sum(" result: series=" in line and " quantity=T" in line for line in lines) == 2
    assert "closed: images=12 slices=2 results=2 late=0 skipped=0" in lines[-1]


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
    assert "holds no images" in result.output
