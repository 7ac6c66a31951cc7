"""Log of a session whose client puts the name of a patient wherever it may write a text."""

import json
import socket
import threading

import numpy as np
import pytest

from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Close, ConfigFile, ConfigText, Header, Image, Text
from inline.mrd.protocol import Decoder, encode
from inline.replay.simulate import header_xml, simulate_examination, to_images
from inline.serving.logs import log_to_stderr
from inline.settings import LogSettings

PATIENT = "Mustermann"
FORGED = f"{PATIENT}\n2026-01-01T00:00:00+0000 ERROR inline.serving.server \x1b[31mforged"


def series(index, count, description, **meta):
    """Images of one slice that bear a description and further attributes."""
    return [
        Image.from_pixels(
            np.full((1, 1, 16, 16), number + 1, np.uint16),
            ImageHeader(
                matrix_size=(16, 16, 1),
                data_type=2,
                channels=1,
                field_of_view=(24.0, 24.0, 8.0),
                read_dir=(1.0, 0.0, 0.0),
                phase_dir=(0.0, 1.0, 0.0),
                image_series_index=index,
                set=number,
            ),
            {"SequenceDescription": description, **{name: each[number] for name, each in meta.items()}},
        )
        for number in range(count)
    ]


def everything():
    """Messages that name the patient in each text that myostream reads."""
    times = ["100", "180", "260", "1000", "1900", "2900", "3800", PATIENT]
    dicom = (
        '{"00181314": {"vr": "DS", "Value": [90]}, "0008103E": {"vr": "LO", "Value": ["MOLLI \\u001b%s"]}}'
    )
    images = [
        *series(1, 3, f"T1map_MOLLI {FORGED}"),
        *series(2, 8, f"T1map_MOLLI {FORGED}", InversionTime=["100"] * 8),
        *series(3, 8, "T1map_MOLLI", InversionTime=times),
        *series(4, 8, "T1map_MOLLI", InversionTime=[PATIENT] * 8),
        *series(5, 8, f"SASHA T1map {FORGED}", InversionTime=times[:7] * 2),
        *series(6, 2, "T1map", DataRole=[PATIENT] * 2),
        *series(7, 3, "x", DicomJson=[dicom % PATIENT] * 3),
        *series(8, 2, PATIENT),
    ]
    header = header_xml(simulate_examination(1, seed=1, size=96))
    return [
        ConfigText(f'<configuration><myostream {PATIENT}="1" motion="{PATIENT}"/></configuration>'),
        ConfigText(f"<configuration><{PATIENT}></configuration>"),
        ConfigText(PATIENT),
        ConfigFile(FORGED),  # a client again, which takes texts
        Text(f"patient {FORGED}"),
        Text(f'{{"{PATIENT}": 1, "t1_scale": "{PATIENT}", "budget_ms": true, "config": "{PATIENT}"}}'),
        Text(f'{{"{PATIENT}": '),
        Header(f"patient {FORGED}"),
        Header(f"<{PATIENT}><{FORGED}></{PATIENT}>"),
        Header(header.replace("</ismrmrdHeader>", f"<x>{PATIENT}</x></ismrmrdHeader>")),
        *images,
        *to_images(simulate_examination(1, seed=1, size=96)),
        Close(),
    ]


def logged(server, messages, caplog):
    """What a server logs, and the texts that the client receives."""
    caplog.set_level("INFO")
    with socket.create_connection(server.address, timeout=30) as connection:
        data = b"".join(map(encode, messages))
        threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
        decoder, received = Decoder(), []
        while part := connection.recv(1 << 16):
            received += decoder.receive(part)
    return caplog.messages, [each.text for each in received if isinstance(each, Text)]


def test_no_line_holds_what_a_client_sent(serving, caplog):
    with serving() as server:
        lines, texts = logged(server, everything(), caplog)
    assert not [line for line in lines if PATIENT in line]
    assert not [line for line in lines if "\x1b" in line or "\n" in line]
    assert sum("not logged" in line for line in lines) >= 8
    assert sum(PATIENT in text for text in texts) >= 5  # the client itself reads what was wrong


def test_json_lines_parse_and_hold_no_text_of_a_client(serving, caplog, capfd):
    with log_to_stderr(LogSettings(format="json"), names=("inline",)), serving() as server:
        logged(server, everything(), caplog)
    written = capfd.readouterr().err
    assert PATIENT not in written
    lines = [json.loads(line) for line in written.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    results = [line for line in lines if "result" in line]
    assert {line["peer"].rpartition(":")[0] for line in results} == {"127.0.0.1"}
    whole = next(line["result"] for line in results if line["result"]["series"] == 1)
    assert whole["slice"] == 0
    assert {line["result"]["quantity"] for line in results} == {"T1", "T2"}
    assert all(took >= 0 for line in results for took in line["result"]["stages_ms"].values())


def test_with_the_setting_texts_are_quoted_and_short(serving, caplog):
    with serving(log={"foreign_text": True}) as server:
        lines, _ = logged(server, everything(), caplog)
    assert sum(PATIENT in line for line in lines) >= 8
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("foreign_text", [False, True])
def test_a_long_text_is_a_short_line(foreign_text, serving, caplog):
    long = [Text("x" * 300_000), ConfigFile("y" * 1000), *series(1, 3, "T1map_MOLLI " + "z" * 300_000)]
    with serving(log={"foreign_text": foreign_text}) as server:
        lines, _ = logged(server, [*long, Close()], caplog)
    assert len(lines) > 3
    assert max(map(len, lines)) < 400
