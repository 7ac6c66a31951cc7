import copy
import errno
import json
import logging
import re
import socket
import sqlite3
import ssl
import struct
import subprocess
import threading
import time
from contextlib import closing, suppress
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    MRImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom import AE

from inline.data.errors import ConfigurationError
from inline.data.pauses import Pauses
from inline.dicom.node import duplicate
from inline.dicom.node import node as node_module
from inline.dicom.node import receiver as receiver_module
from inline.dicom.node import store as store_module
from inline.dicom.node.duplicate import may_replace
from inline.dicom.node.processing import Processor
from inline.dicom.node.received import (
    ReceivedObjects,
    SpoolFullError,
    StudyBatch,
    make_series_due,
)
from inline.dicom.node.spool import inspect, move_results
from inline.dicom.node.store import SpoolError
from inline.dicom.node.waiting import ATTEMPTS
from inline.dicom.write.parametric_map import parametric_map
from inline.pipeline import Pipeline
from inline.serving.logs import JsonFormatter
from inline.settings import Settings, load_settings
from tests.inline import contrast_phantom as phantom

from .. import scanner
from .conftest import OUTPUTS, PLANTED, Archive, associated, everywhere, send, wait_for

OBJECTS = len(OUTPUTS)
"""Of one series of one slice."""
ALL = ("map", "segmentation", "capture", "report")


def uids(datasets):
    return sorted(str(each.SOPInstanceUID) for each in datasets)


def result_files(folder):
    """Files of the results in a spool, in the order in which they are sent."""
    with closing(sqlite3.connect(folder / "spool.sqlite")) as database:
        return [folder / file for (file,) in database.execute("SELECT file FROM result ORDER BY rowid")]


def test_series_come_back_as_results_in_their_study(running, archive, scanned):
    with running([archive.destination()], outputs=ALL) as node:
        with associated(node.address) as association:
            assert association.send_c_echo().Status == 0
        assert set(send(node.address, scanned)) == {0}
        wait_for(lambda: len(archive.stored) >= 3 * len(ALL))
    assert {each.StudyInstanceUID for each in archive.stored} == {scanner.STUDY}
    kinds = [each.SeriesDescription for each in archive.stored]
    for named, number in (("T1 native", 2), ("T2", 1)):
        for what in ("contours", "LV contours, slice 0", "values"):
            assert kinds.count(f"{named} {what} (myostream)") == number
    for what in ("T1 native map", "T1 native scanner's map", "T2 map"):
        assert kinds.count(f"{what}, slice 0 (myostream)") == 1
    assert len(set(uids(archive.stored))) == 3 * len(ALL)


def test_images_that_came_in_a_pause_of_the_process_are_of_their_series(running, archive, scanned):
    now = SimpleNamespace(s=1000.0)
    with running([archive.destination()]) as node:
        node._pauses = Pauses(lambda: now.s, 0.5)
        with associated(node.address) as association:
            for each in scanned[:5]:
                association.send_c_store(each)
            now.s += 30.0
            time.sleep(1.0)  # twice the idle time
            assert node.backlog().objects == 5
            assert archive.stored == []
            for each in scanned[5:]:
                association.send_c_store(each)
        now.s += 0.5
        wait_for(lambda: len(archive.stored) >= 3 * len(OUTPUTS))
    assert len(archive.stored) == 3 * len(OUTPUTS)


def test_an_enhanced_object_comes_back_as_results(running, archive, scanned):
    with running([archive.destination()]) as node:
        assert send(node.address, [scanner.enhanced(scanner.series_of(scanned, 1))]) == [0]
        wait_for(lambda: len(archive.stored) >= OBJECTS)


@pytest.mark.slow
def test_a_rerun_replaces_its_objects(running, archive, scanned):
    molli = scanner.series_of(scanned, 1)
    with running([archive.destination()]) as node:
        send(node.address, molli)
        wait_for(lambda: len(archive.stored) >= OBJECTS)
        first = uids(archive.stored)
        send(node.address, molli)
        wait_for(lambda: len(archive.stored) >= 2 * OBJECTS)
    assert uids(archive.stored) == sorted(2 * first)


def test_an_archive_that_is_down_loses_nothing(running, archive, scanned, tmp_path):
    archive.stop()
    with running([archive.destination()]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: inspect(tmp_path / "spool").errors)
        assert inspect(tmp_path / "spool").deliveries == {"archive": OBJECTS}
    # The node too ends and begins again before the archive is back.
    with running([archive.destination()]):
        archive.start()
        wait_for(lambda: len(archive.stored) >= OBJECTS)
        wait_for(lambda: not inspect(tmp_path / "spool").deliveries)


def test_results_of_a_destination_that_was_renamed_are_named_at_the_start(
    running, archive, scanned, tmp_path, caplog
):
    archive.stop()
    with running([archive.destination(name="pacs")]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: inspect(tmp_path / "spool").errors)
    assert "no longer has" not in caplog.text
    archive.start()
    with running([archive.destination()]):
        assert f"{OBJECTS} results wait for the destination pacs, which dicom.destinations no" in caplog.text
        assert move_results(tmp_path / "spool", "pacs", "archive") == OBJECTS
        wait_for(lambda: not inspect(tmp_path / "spool").deliveries)
    assert len(archive.stored) == OBJECTS


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"")], ids=["gone", "empty"])
def test_results_whose_files_are_gone_hold_up_no_others(
    running, archive, scanned, tmp_path, monkeypatch, damage
):
    monkeypatch.setattr("inline.dicom.node.sender._MOST_SENT", 1)
    archive.stop()
    with running([archive.destination()]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: inspect(tmp_path / "spool").deliveries)
    damage(result_files(tmp_path / "spool")[0])
    with running([archive.destination()], retry_most_s=60.0):
        archive.start()
        wait_for(lambda: len(archive.stored) >= OBJECTS - 1)
    assert inspect(tmp_path / "spool").deliveries == {"archive": 1}
    assert "missing from the spool" in (reason := inspect(tmp_path / "spool").errors["archive"])
    assert "remove its study (dicom-queue --forget)" in reason


@pytest.fixture
def denied(monkeypatch):
    """A function that lets the user of the node read no file of the spool from now on; root may read all."""
    return lambda: monkeypatch.setattr(store_module.os, "access", lambda *_: False)


def test_results_that_may_not_be_read_wait_with_the_reason(
    running, archive, scanned, tmp_path, monkeypatch, denied
):
    archive.stop()
    with running([archive.destination()]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: inspect(tmp_path / "spool").errors)
        denied()
        monkeypatch.setattr("inline.dicom.node.sender.is_dicom", lambda _: False)
        archive.start()
        wait_for(lambda: "(Permission denied)" in inspect(tmp_path / "spool").errors["archive"])
        assert "chown" in inspect(tmp_path / "spool").errors["archive"]
        assert archive.stored == []
        monkeypatch.undo()
        wait_for(lambda: len(archive.stored) == OBJECTS)


def test_images_that_may_not_be_read_wait_and_use_up_no_attempt(
    running, archive, scanned, tmp_path, monkeypatch, denied, caplog
):
    denied()
    with running([archive.destination()]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: caplog.text.count("series could not be processed; again in 0 s: ") > ATTEMPTS)
        (reason,) = inspect(tmp_path / "spool").failed
        assert "(Permission denied); change their owner (chown)" in reason
        monkeypatch.undo()
        wait_for(lambda: len(archive.stored) == OBJECTS)
    assert inspect(tmp_path / "spool").failed == ()


def test_a_series_that_may_not_be_read_holds_up_no_other_of_its_study(
    running, archive, scanned, tmp_path, monkeypatch, denied, caplog
):
    """Both are due together: the first one is tried again at once."""
    denied()
    with running([archive.destination()], outputs=("map",)) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: inspect(tmp_path / "spool").failed)
        closed = set((tmp_path / "spool").glob("*.dcm"))
        monkeypatch.setattr(store_module.os, "access", lambda path, _: path not in closed)
        send(node.address, scanner.series_of(scanned, 2))
        wait_for(lambda: len(archive.stored) == 1)
        assert set(node.spool.received.unprocessed().values()) == {"unreadable"}
        assert len(closed.intersection((tmp_path / "spool").glob("*.dcm"))) == len(closed)
        closed.clear()
        wait_for(lambda: len(archive.stored) == 2)
    assert {each.SeriesDescription[:2] for each in archive.stored} == {"T1", "T2"}
    assert "attempt" not in caplog.text


def test_an_archive_that_refuses_is_asked_again(running, archive, scanned, tmp_path):
    archive.status = 0xA700
    with running([archive.destination()]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: inspect(tmp_path / "spool").errors)
        assert "0xA700" in inspect(tmp_path / "spool").errors["archive"]
        archive.status = 0
        wait_for(lambda: len(archive.stored) >= OBJECTS)


def test_results_that_an_archive_has_already_count_as_delivered(running, archive, scanned, tmp_path, caplog):
    archive.status = 0x0111
    with running([archive.destination()]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: "objects count as delivered" in caplog.text)
        wait_for(lambda: not inspect(tmp_path / "spool").deliveries, 10.0)
    (line,) = (each.getMessage() for each in caplog.records if "0x0111" in each.getMessage())
    assert line.startswith(f"archive: {OBJECTS} objects count as delivered")


def test_a_destination_that_is_down_holds_up_no_other(running, archive, scanned):
    down = Archive()
    down.start()
    down.stop()
    with running([down.destination(name="down"), archive.destination()]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: len(archive.stored) >= OBJECTS)


def test_a_full_spool_answers_out_of_resources_and_serves_on(running, archive, scanned):
    with running([archive.destination()], spool_bytes=1 << 20) as node:
        large = copy.deepcopy(scanned[0])
        large.Rows = large.Columns = 1024
        large.PixelData = bytes(2 * 1024 * 1024)
        molli = scanner.series_of(scanned, 1)
        assert send(node.address, [large, *molli]) == [0xA700, *[0] * len(molli)]
        wait_for(lambda: len(archive.stored) >= OBJECTS)


def test_an_object_with_the_uid_of_another_series_is_refused(running, archive, scanned):
    first, second = copy.deepcopy(scanner.series_of(scanned, 1)[:2])
    second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = first.SOPInstanceUID
    second.SeriesInstanceUID = "1.2.3"
    with running([archive.destination()], idle_s=60.0) as node:
        assert send(node.address, [first, second, first]) == [0, 0x0111, 0]


@pytest.mark.parametrize("change", ["patient", "pixels"])
def test_another_image_with_the_uid_of_one_in_the_queue_is_refused(
    running, archive, scanned, tmp_path, caplog, change
):
    first = scanned[0]
    second = copy.deepcopy(first)
    if change == "patient":
        second.PatientID = "Planted-ID-4712"
    else:
        second.PixelData = scanned[1].PixelData
    with running([archive.destination()], idle_s=60.0) as node:
        assert send(node.address, [first, second]) == [0, 0x0111]
        (kept,) = (tmp_path / "spool").glob("*.dcm")
        assert (dcmread(kept).PatientID, dcmread(kept).PixelData) == (first.PatientID, first.PixelData)
    assert any("give each image a UID of its own" in each.message for each in caplog.records)


def test_the_same_image_may_come_again(running, archive, scanned, tmp_path):
    """As it was, compressed, and with a corrected header."""
    first = scanned[0]
    compressed, corrected = copy.deepcopy(first), copy.deepcopy(first)
    compressed.compress(RLELossless, generate_instance_uid=False)
    corrected.InversionTime = 123.0
    with running([archive.destination()], idle_s=60.0) as node:
        assert send(node.address, [first, first, corrected]) == [0, 0, 0]
        (kept,) = (tmp_path / "spool").glob("*.dcm")
        assert dcmread(kept).InversionTime == 123.0
        compressed.save_as(tmp_path / "compressed.dcm", enforce_file_format=True)
        assert may_replace(kept, (tmp_path / "compressed.dcm").read_bytes())


@pytest.mark.parametrize("length", [0, 300])
def test_a_damaged_first_copy_is_replaced(length, scanned, tmp_path):
    kept = tmp_path / "kept.dcm"
    scanned[0].save_as(kept, enforce_file_format=True)
    whole = kept.read_bytes()
    kept.write_bytes(whole[:length])
    assert may_replace(kept, whole)
    kept.write_bytes(bytes(len(whole)))
    assert may_replace(kept, whole)


def test_two_objects_are_compared_frame_by_frame_and_not_at_all_where_that_tells_nothing(
    scanned, tmp_path, monkeypatch
):
    """An RLE object of 5 MiB may hold 300 MiB of pixels."""
    decoded = []
    monkeypatch.setattr(
        duplicate,
        "iter_pixels",
        lambda image: (decoded.append(1) or each for each in iter_pixels(image)),
    )

    def written(name, *changes, compressed=True, **elements):
        image = copy.deepcopy(scanned[0])
        frames = np.repeat(image.pixel_array[None], 3, axis=0)
        for place in changes:
            frames[place] += 1
        image.NumberOfFrames, image.PixelData = len(frames), frames.tobytes()
        if compressed:
            image.compress(RLELossless, generate_instance_uid=False)
        for keyword, value in elements.items():
            setattr(image, keyword, value)
        image.save_as(tmp_path / name, enforce_file_format=True)
        return tmp_path / name

    kept = written("kept")
    for same, others, count in [
        (True, {"InversionTime": 5.0}, 0),
        (True, {"compressed": False}, 6),
        (False, {"Columns": 4096}, 1),
    ]:
        decoded.clear()
        assert may_replace(kept, written("other", **others).read_bytes()) is same
        assert len(decoded) == count
    for place, compressed in product(range(3), (True, False)):
        decoded.clear()
        assert not may_replace(kept, written("other", place, compressed=compressed).read_bytes())
        assert len(decoded) == 2 * (place + 1)


def test_pixels_above_the_limit_are_not_decoded_to_compare_them(scanned, tmp_path, monkeypatch):
    monkeypatch.setattr(duplicate, "iter_pixels", lambda image: pytest.fail("decoded"))
    image = copy.deepcopy(scanned[0])
    image.compress(RLELossless, generate_instance_uid=False)
    image.Rows, image.Columns = 16_384, 16_384
    image.save_as(tmp_path / "kept", enforce_file_format=True)
    image.PixelData = image.PixelData + bytes(2)
    image.save_as(tmp_path / "other", enforce_file_format=True)
    assert may_replace(tmp_path / "kept", (tmp_path / "other").read_bytes())


def test_an_image_that_came_damaged_may_come_again(scanned, tmp_path):
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    short = copy.deepcopy(scanned[0])
    short.PixelData = short.PixelData[:100]
    scanned[0].save_as(whole, enforce_file_format=True)
    short.save_as(damaged, enforce_file_format=True)
    assert may_replace(damaged, whole.read_bytes())
    assert not may_replace(whole, damaged.read_bytes())


def test_a_disk_without_room_answers_out_of_resources(running, archive, scanned):
    with running([archive.destination()], free_bytes=1 << 60) as node:
        assert send(node.address, scanned[:1]) == [0xA700]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left", "f"), sqlite3.OperationalError("database or disk is full")],
)
def test_a_disk_that_is_full_while_an_object_is_written_is_out_of_resources(
    running, archive, scanned, monkeypatch, caplog, error
):
    def full(*_):
        raise error

    monkeypatch.setattr(ReceivedObjects, "receive", full)
    with running([archive.destination()]) as node:
        assert send(node.address, scanned[:1]) == [0xA700]
    assert "an object was refused: it cannot be stored: " in caplog.text
    assert any(text in caplog.text for text in ("No space left\n", "disk is full\n"))
    assert "Traceback" not in caplog.text


def test_results_that_cannot_be_stored_are_made_again(running, archive, scanned, monkeypatch, caplog):
    finish = node_module.Spool.finish
    failures = iter([OSError(28, "No space left on device"), ValueError("a fault"), None])

    def failing(self, *arguments):
        if (error := next(failures, None)) is not None:
            raise error
        finish(self, *arguments)

    monkeypatch.setattr(node_module.Spool, "finish", failing)
    with running([archive.destination()]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: len(archive.stored) >= OBJECTS)
    assert "results could not be stored; again in 0 s: No space left on device" in caplog.text


@pytest.mark.parametrize(
    ("settings", "others"),
    [
        ({"calling_ae_titles": ["SCANNER"]}, {"calling": "STRANGER"}),
        ({}, {"called": "ANOTHER"}),
        ({"peers": ["192.0.2.0/24"]}, {}),
    ],
    ids=["calling", "called", "address"],
)
def test_strangers_are_rejected(running, archive, settings, others):
    with (
        running([archive.destination()], **settings) as node,
        associated(node.address, **others) as association,
    ):
        assert association is None


@pytest.mark.parametrize(
    ("lists", "others", "why"),
    [
        ({}, {"called": "ANOTHER"}, "its called AE title {} is not MYOSTREAM (dicom.ae_title)"),
        (
            {"calling_ae_titles": ["MR1", "MR2"]},
            {"calling": "STRANGER"},
            "its calling AE title {} is none of MR1, MR2 (dicom.calling_ae_titles)",
        ),
    ],
    ids=["called", "calling"],
)
@pytest.mark.parametrize("quoted", [False, True])
def test_the_log_states_why_an_association_was_rejected(running, archive, caplog, lists, others, why, quoted):
    with running([archive.destination()], log={"foreign_text": quoted}, **lists) as node:
        with associated(node.address, **others) as association:
            assert association is None
        wait_for(lambda: "was rejected" in caplog.text)
    (line,) = (each.getMessage() for each in caplog.records if "was rejected" in each.getMessage())
    (stated,) = others.values()
    shown = repr(stated) if quoted else f"({len(stated)} characters, not logged)"
    assert line.endswith(f"an association was rejected: {why.format(shown)}")


def test_the_log_states_that_too_many_associations_are_open(running, archive, caplog):
    with running([archive.destination()], associations=1) as node, associated(node.address) as first:
        assert first is not None
        entity = AE("SCANNER")
        entity.add_requested_context(MRImageStorage)
        # The limit for one host closes connections before.
        second = entity.associate(*node.address, ae_title="MYOSTREAM", bind_address=("127.0.0.2", 0))
        assert second.is_rejected
        wait_for(lambda: "was rejected: 1 are open already (dicom.associations)" in caplog.text)


def test_classes_that_are_not_accepted_are_logged_once_for_a_host(running, archive, caplog):
    caplog.set_level(logging.INFO)
    private = "1.3.12.2.1107.5.9.1"
    with running([archive.destination()]) as node:
        for kinds in (
            [MRImageStorage, SegmentationStorage],
            [MRImageStorage, SegmentationStorage],
            [SecondaryCaptureImageStorage, SegmentationStorage, private],
            [SecondaryCaptureImageStorage],
        ):
            entity = AE("ORTHANC")
            for kind in kinds:
                entity.add_requested_context(kind)
            association = entity.associate(*node.address, ae_title="MYOSTREAM")
            association.release()
    lines = [each for each in caplog.records if "not accepted" in each.getMessage()]
    assert [each.levelname for each in lines] == ["INFO", "WARNING"]
    why = "SOP classes that it proposed are not accepted, since the node takes MR images alone"
    first, second = (each.getMessage().partition(": ")[2] for each in lines)
    assert first == f"{why}: Segmentation Storage"
    assert second == f"{why}: ({len(private)} characters, not logged), Secondary Capture Image Storage"


def test_those_on_the_lists_are_admitted(running, archive, scanned):
    lists = {"calling_ae_titles": ["SCANNER"], "peers": ["127.0.0.0/8"]}
    with running([archive.destination()], **lists) as node:
        assert send(node.address, scanned[:1]) == [0]


def test_clients_that_send_rubbish_or_nothing_hurt_no_other(running, archive, scanned):
    with running([archive.destination()], associations=8) as node:
        stranger = ("127.0.0.2", 0)
        silent = [socket.create_connection(node.address, source_address=stranger) for _ in range(20)]
        silent[0].sendall(b"\x04\x00" + struct.pack(">L", 1 << 30) + b"half a message")
        with socket.create_connection(node.address, source_address=stranger) as rubbish:
            rubbish.sendall(b"GET / HTTP/1.1\r\n\r\n")
        molli = scanner.series_of(scanned, 1)
        assert set(send(node.address, molli)) == {0}
        wait_for(lambda: len(archive.stored) >= OBJECTS)
        for each in silent:
            each.close()


@pytest.mark.parametrize("beginning", [b"", b"\x01", b"GET / HTTP/1.1\r\n\r\n"])
def test_connections_that_end_without_a_request_take_no_place(running, archive, scanned, beginning):
    with running([archive.destination()], associations=8) as node:
        for _ in range(4):
            with socket.create_connection(node.address) as check:
                check.sendall(beginning)
        time.sleep(0.5)
        assert send(node.address, scanned[:1]) == [0]


def test_a_clock_that_is_set_forward_ends_no_association(running, archive, scanned, monkeypatch):
    with running([archive.destination()]) as node, associated(node.address) as association:
        assert association.send_c_store(scanned[0]).Status == 0
        monkeypatch.setattr(time, "time", lambda clock=time.time: clock() + 3600)
        time.sleep(0.5)
        assert association.is_established
        assert association.send_c_store(scanned[1]).Status == 0


def test_a_clock_that_is_set_back_suspends_no_time_limit(running, archive, monkeypatch):
    monkeypatch.setattr(receiver_module, "_TIMEOUT_S", 0.5)
    with running([archive.destination()]) as node, associated(node.address) as association:
        monkeypatch.setattr(time, "time", lambda clock=time.time: clock() - 3600)
        wait_for(lambda: not association.is_established, 10.0)


def test_an_object_that_is_too_large_ends_its_association_alone(running, archive, scanned):
    large = copy.deepcopy(scanned[0])
    large.Rows = large.Columns = 2048
    large.PixelData = bytes(2 * 2048 * 2048)
    with running([archive.destination()], object_bytes=1 << 20) as node:
        with associated(node.address) as association:
            assert "Status" not in association.send_c_store(large)
        assert send(node.address, scanned[:1]) == [0]


@pytest.mark.parametrize("name", ["SeriesInstanceUID", "StudyInstanceUID"])
def test_an_object_without_a_uid_is_refused(running, archive, scanned, name):
    image = copy.deepcopy(scanned[0])
    delattr(image, name)
    with running([archive.destination()]) as node:
        assert send(node.address, [image, scanned[1]]) == [0xA900, 0]


def test_images_of_no_mapping_series_give_no_results_and_no_error(
    running, archive, scanned, tmp_path, caplog
):
    image = copy.deepcopy(scanned[0])
    image.SeriesDescription = image.ProtocolName = "localizer"
    del image.InversionTime
    with caplog.at_level(logging.INFO), running([archive.destination()]) as node:
        send(node.address, [image])
        wait_for(lambda: "processed series=1 images=1 slices=0 objects=0" in caplog.text)
    assert inspect(tmp_path / "spool").failed == ()
    assert archive.stored == []


def test_series_that_cannot_be_read_are_kept(running, archive, scanned, tmp_path, caplog):
    damaged = [copy.deepcopy(each) for each in scanner.series_of(scanned, 1)]
    for each in damaged:
        each.PixelData = each.PixelData[:1000]
    with running([archive.destination()]) as node:
        send(node.address, damaged)
        wait_for(lambda: inspect(tmp_path / "spool").failed)
        assert "could not be read" in inspect(tmp_path / "spool").failed[0]
        wait_for(lambda: f"attempt {ATTEMPTS} of {ATTEMPTS}" in caplog.text)
        assert "stay in the spool" not in caplog.text
    assert inspect(tmp_path / "spool").objects == len(damaged)
    with running([archive.destination()]) as node:
        assert "1 series could not be processed and stay in the spool" in caplog.text
        send(node.address, scanner.series_of(scanned, 1))  # the same objects, whole
        wait_for(lambda: len(archive.stored) >= OBJECTS)


def unreadable(datasets):
    made = copy.deepcopy(datasets)
    for each in made:
        each.PixelData = each.PixelData[:1000]
    return made


def test_a_series_that_cannot_be_read_is_kept_although_another_of_its_study_is_done(
    running, archive, scanned, tmp_path, caplog
):
    with running([archive.destination()]) as node:
        send(node.address, [*scanner.series_of(scanned, 1), *unreadable(scanner.series_of(scanned, 2))])
        wait_for(lambda: f"1 series could not be processed (attempt {ATTEMPTS} of {ATTEMPTS})" in caplog.text)
        wait_for(lambda: len(archive.stored) >= OBJECTS)
    assert len(archive.stored) == OBJECTS  # the series that was read is not sent again
    assert {each.SeriesDescription for each in archive.stored} == {
        "T1 native map, slice 0 (myostream)",
        "T1 native values (myostream)",
    }
    backlog = inspect(tmp_path / "spool")
    assert (backlog.series, backlog.kept, len(backlog.failed)) == (1, 1, 1)


def test_the_log_and_the_queue_state_why_images_cannot_be_read(running, archive, scanned, tmp_path, caplog):
    t1, t2 = (scanner.series_of(scanned, number) for number in (1, 2))
    for each in (damaged := copy.deepcopy(t2)):
        each.add_new("RescaleSlope", "LO", "Planted")
    with running([archive.destination()]) as node:
        send(node.address, unreadable(t1))
        send(node.address, damaged)
        wait_for(lambda: len(inspect(tmp_path / "spool").failed) == 2)
        wait_for(lambda: f"(attempt 2 of {ATTEMPTS})" in caplog.text)
    lines = {each.getMessage() for each in caplog.records if "could not be read: " in each.getMessage()}
    assert f"{len(t1)} files could not be read: its pixels cannot be read: the file is cut off" in lines
    why = "RescaleSlope (7 characters, not logged) is no number, or 0"
    assert f"{len(t2)} files could not be read: {why}" in lines
    assert "Planted" not in caplog.text
    failed = inspect(tmp_path / "spool").failed
    assert all(any(each in reason for reason in failed) for each in ("the file is cut off", why))


def test_maps_of_rates_are_refused_with_the_reason(running, archive, scanned, tmp_path):
    """It is a text of the program's own, without anything of the images."""
    for each in (maps := copy.deepcopy(scanner.series_of(scanned, 3))):
        each.RescaleSlope, each.RescaleIntercept, each.RescaleType = "0.001", "0", "1/s"
    with running([archive.destination()]) as node:
        send(node.address, maps)
        wait_for(lambda: inspect(tmp_path / "spool").failed)
    (reason,) = inspect(tmp_path / "spool").failed
    assert "its values are rates (1/s), which are not read; export the map in ms" in reason


def test_the_reason_is_why_a_slice_was_not_written_not_that_one_of_its_images_cannot_be_read(
    running, archive, scanned, tmp_path
):
    images = copy.deepcopy(scanner.series_of(scanned, 1))
    for each in images:
        del each.FrameOfReferenceUID
    images[-1].PixelData = images[-1].PixelData[:500]
    with running([archive.destination()], outputs=["map"]) as node:
        send(node.address, images)
        wait_for(lambda: inspect(tmp_path / "spool").failed)
    (reason,) = inspect(tmp_path / "spool").failed
    assert "the file is cut off" not in reason
    assert "frame of reference" in reason.lower() or "FrameOfReferenceUID" in reason


def test_a_series_that_cannot_be_written_is_kept_although_another_of_its_study_is_done(
    running, archive, scanned, tmp_path, caplog, monkeypatch
):
    def refusing(source):
        if source.quantity == "T2":
            raise ValueError("Planted")
        return parametric_map(source)

    monkeypatch.setattr("inline.dicom.write.objects.parametric_map", refusing)
    with running([archive.destination()]) as node:
        send(node.address, scanned)
        wait_for(lambda: f"1 series could not be processed (attempt {ATTEMPTS} of {ATTEMPTS})" in caplog.text)
    assert "Planted" not in caplog.text
    backlog = inspect(tmp_path / "spool")
    assert (backlog.series, backlog.kept, len(backlog.failed)) == (1, 2, 1)


@pytest.mark.parametrize(
    ("mapped", "given", "lost", "failed"),
    [
        ("ab", "ab", "", ""),
        ("a", "a", "b", "2"),
        ("", "", "", ""),
        ("ab", "a", "b", "2"),
        ("ab", "ab", "ab", ""),  # files of several frames: some cannot be read
        ("bc", "b", "d", "3"),  # too few images are left of series 3, and no report is wanted
        ("b", "b", "d", ""),  # the corrected images of series 2 stand for series 3
    ],
)
def test_series_that_gave_problems_alone_are_tried_again(mapped, given, lost, failed):
    members = {"1": {"a": Path("a")}, "2": {"b": Path("b")}, "3": {"c": Path("c"), "d": Path("d")}}
    parts = StudyBatch(members, 1).split(*(set(map(Path, each)) for each in (mapped, given, lost)))
    assert parts[1].series == tuple(failed)
    assert {**parts[0].members, **parts[1].members} == members


def test_images_without_pixel_spacing_give_a_report_that_says_so(running, archive, scanned, caplog):
    images = copy.deepcopy(scanner.series_of(scanned, 1))
    for each in images:
        each.PixelSpacing = [0, 0]
    with running([archive.destination()]) as node:
        send(node.address, images)
        wait_for(lambda: archive.stored)
    (report,) = archive.stored
    assert report.Modality == "SR"
    texts = [each.value for each in report.iterall() if each.keyword == "TextValue"]
    assert any("PixelSpacing" in text for text in texts)
    assert [each for each in caplog.messages if "no result" in each and "PixelSpacing" in each]
    assert "beside its source images" not in caplog.text


def test_too_few_images_give_a_report_that_says_so(running, archive, scanned):
    with running([archive.destination()], outputs=["report"]) as node:
        send(node.address, scanner.series_of(scanned, 1)[:3])
        wait_for(lambda: archive.stored)
    texts = [each.value for each in archive.stored[0].iterall() if each.keyword == "TextValue"]
    assert any("too few" in text for text in texts)


def test_the_log_holds_no_text_of_a_sender(running, archive, scanned, caplog):
    caplog.set_level(logging.DEBUG)
    objects = everywhere(scanner.series_of(scanned, 1))
    nameless = copy.deepcopy(objects[0])
    del nameless.StudyInstanceUID
    unplaced = copy.deepcopy(objects[0])
    unplaced.SOPInstanceUID, unplaced.SeriesInstanceUID = "1.2.3.4", "1.2.3"
    del unplaced.FrameOfReferenceUID
    with running([archive.destination()]) as node:
        with associated(node.address, called="Planted"):
            pass
        send(node.address, [*objects, nameless, unplaced], calling="PLANTED")
        wait_for(lambda: len(archive.stored) >= OBJECTS)
    ours = [each.getMessage().lower() for each in caplog.records if each.name.startswith("inline")]
    assert any("processed series" in line for line in ours)
    for word in PLANTED:
        assert not any(word in line for line in ours)


def test_each_result_is_a_line_of_the_log_with_the_fields_of_serve(running, archive, scanned, caplog):
    caplog.set_level(logging.INFO)
    with running([archive.destination()]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: len(archive.stored) >= OBJECTS)
    (record,) = (each for each in caplog.records if each.getMessage().startswith("result: "))
    line = json.loads(JsonFormatter(foreign_text=False).format(record))["result"]
    page = (Path(__file__).parents[4] / "docs" / "service.md").read_text(encoding="utf-8")
    assert set(line) == set(re.findall(r"`(\w+)`", page.partition("| `result` |")[2].partition("\n")[0]))
    (report,) = (each for each in archive.stored if each.Modality == "SR")
    stated = [float(each.value) for each in report.iterall() if each.keyword == "NumericValue"]
    assert min(abs(each - line["median_ms"]) for each in stated) <= 0.05
    assert f"median_ms={line['median_ms']}" in record.getMessage()


def test_a_node_without_destinations_is_refused(running):
    with pytest.raises(ConfigurationError, match=r"set dicom\.destinations"), running([]):
        pass


def test_a_port_that_is_taken_is_an_error_message(running, archive):
    with (
        pytest.raises(ConfigurationError, match=r"dicom\.port"),
        running([archive.destination()], port=archive.port),
    ):
        pass


@pytest.mark.parametrize("fault", ["spool", "pipeline"])
def test_a_node_that_is_not_made_holds_neither_spool_nor_port(running, archive, monkeypatch, fault):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def damaged(*_):
        raise sqlite3.DatabaseError("database disk image is malformed")

    with monkeypatch.context() as patched:
        place, name, expected = {
            "spool": (ReceivedObjects, "given_up", SpoolError),
            "pipeline": (node_module, "Processor", sqlite3.DatabaseError),
        }[fault]
        patched.setattr(place, name, damaged)
        # The error is held, and with it its frames and the node in them.
        with pytest.raises(expected, match="malformed") as held, running([archive.destination()], port=port):
            pass
    with running([archive.destination()], port=port) as node:
        assert node.address[1] == port
    del held


class Stow(BaseHTTPRequestHandler):
    """STOW-RS service, which first gives the answers of a server that has trouble or is none."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = message_from_bytes(head + body, policy=HTTP)
        server = self.server
        if server.statuses:
            status = server.statuses.pop()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"http://127.0.0.1:{server.server_port}/login")
            self.end_headers()
            return
        parts = [dcmread(BytesIO(part.get_payload(decode=True))) for part in message.iter_parts()]
        server.stored += parts
        server.requests.append((self.path, self.headers["Authorization"], message.get_content_type()))
        self.send_response(200)
        self.end_headers()
        items = [{"00081155": {"vr": "UI", "Value": [str(each.SOPInstanceUID)]}} for each in parts]
        self.wfile.write(json.dumps({"00081199": {"vr": "SQ", "Value": items}}).encode())

    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def stow():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stow)
    server.stored, server.requests, server.statuses = [], [], [503, 202, 302, 200]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_results_go_to_a_dicomweb_service(running, stow, scanned):
    url = f"http://127.0.0.1:{stow.server_port}/dicom-web/"
    with running([{"name": "web", "url": url, "user": "a", "password": "b"}]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: len(stow.stored) >= OBJECTS)
    assert len(set(uids(stow.stored))) == OBJECTS
    assert set(stow.requests) == {("/dicom-web/studies", "Basic YTpi", "multipart/related")}


def test_tls_both_ways(running, certificate, scanned):
    file, key = certificate
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file, key)
    server.load_verify_locations(file)
    server.verify_mode = ssl.CERT_REQUIRED
    archive = Archive()
    archive.start(server)
    client = ssl.create_default_context(cafile=file)
    files = {"tls_certificate": file, "tls_key": key, "tls_ca": file}
    try:
        with running([archive.destination(tls=True)], **files) as node:
            silent = socket.create_connection(node.address)  # never begins its handshake
            with associated(node.address) as plain:
                assert plain is None
            with associated(node.address, context=client) as unknown:
                assert unknown is None
            client.load_cert_chain(file, key)
            assert set(send(node.address, scanner.series_of(scanned, 1), context=client)) == {0}
            wait_for(lambda: len(archive.stored) >= OBJECTS)
            silent.close()
    finally:
        archive.stop()


@pytest.mark.slow
def test_an_archive_with_an_unknown_certificate_receives_nothing(running, certificate, scanned, tmp_path):
    file, key = certificate
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file, key)
    archive = Archive()
    archive.start(server)
    try:
        with running([archive.destination(tls=True)]) as node:
            send(node.address, scanner.series_of(scanned, 1))
            wait_for(lambda: inspect(tmp_path / "spool").errors)
            assert archive.stored == []
    finally:
        archive.stop()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"destinations": [{"name": "a"}]}, "either ae_title, host and port, or url"),
        (
            {"destinations": [{"name": "a", "url": "http://x", "host": "h", "ae_title": "T"}]},
            "either ae_title",
        ),
        ({"destinations": [{"name": "a", "url": "http://x"}] * 2}, "a name of its own"),
        ({"tls_certificate": "a.pem"}, "given together"),
        ({"ae_title": "LONGER THAN SIXTEEN"}, "ae_title"),
        ({"outputs": ["picture"]}, "outputs"),
    ],
)
def test_settings_that_cannot_be_meant_are_errors(section, message):
    with pytest.raises(ConfigurationError, match=message):
        load_settings(dicom=section)


def test_tls_files_that_cannot_be_used_are_an_error_message(running, archive, tmp_path):
    file = tmp_path / "none.pem"
    with (
        pytest.raises(ConfigurationError, match=r"dicom\.tls_certificate"),
        running([archive.destination()], tls_certificate=file, tls_key=file),
    ):
        pass


@pytest.fixture(scope="session")
def contrasted():
    """Objects of two native slices, series 1, and of one post-contrast slice, series 3."""
    return scanner.classic(phantom.native_and_post(2, 1))


def described(archive):
    """Series descriptions without the name of the program and the slice."""
    names = [each.SeriesDescription.removesuffix(" (myostream)") for each in archive.stored]
    return sorted(name.partition(", ")[0] for name in names)


def flags_of(report):
    """Quality flags and notes in a report."""
    return [each.value for each in report.iterall() if each.keyword == "TextValue"]


NATIVE = sorted([*["T1 native map", "T1 native contours"] * 2, "T1 native values"])
POST = sorted(
    [f"{name} {kind}" for name in ("T1 post-contrast", "ECV") for kind in ("map", "contours", "values")]
)


def test_a_post_contrast_series_that_comes_later_has_ecv_across_a_restart(
    running, archive, contrasted, tmp_path
):
    settings = {
        "outputs": ("map", "report", "capture"),
        "ecv": {"haematocrit": phantom.HAEMATOCRIT},
    }
    with running([archive.destination()], **settings) as node:
        send(node.address, scanner.series_of(contrasted, 1))
        wait_for(lambda: len(archive.stored) >= len(NATIVE))
        wait_for(lambda: not inspect(tmp_path / "spool").deliveries)
    # A slice that may still get its partner has no report of a missing one.
    assert described(archive) == NATIVE
    archive.stored.clear()
    with running([archive.destination()], **settings) as node:
        send(node.address, scanner.series_of(contrasted, 3))
        wait_for(lambda: len(archive.stored) >= len(POST))
        wait_for(lambda: not inspect(tmp_path / "spool").deliveries)
    # The native objects are not sent again.
    assert described(archive) == POST
    assert inspect(tmp_path / "spool").kept == 2
    (ecv,) = (each for each in archive.stored if each.SeriesDescription == "ECV map, slice 0 (myostream)")
    row = ecv.Rows // 2 * ecv.Columns
    stored = np.frombuffer(ecv.FloatPixelData, np.float32)[row : row + ecv.Columns]
    assert stored[ecv.Columns // 2 + 23] == pytest.approx(phantom.ECV, abs=0.02)
    named = {item.ReferencedSOPInstanceUID for item in ecv.SourceImageSequence}
    native = scanner.series_of(contrasted, 1)[: len(phantom.TIMES_MS)]
    assert named == {each.SOPInstanceUID for each in [*native, *scanner.series_of(contrasted, 3)]}


@pytest.mark.slow
def test_a_native_series_that_is_kept_no_longer_gives_no_ecv(running, archive, contrasted, tmp_path):
    with running([archive.destination()], kept_s=0.0) as node:
        for number, objects in ((1, 3), (3, 5)):
            send(node.address, scanner.series_of(contrasted, number))
            wait_for(lambda most=objects: len(archive.stored) >= most)
            wait_for(lambda: not inspect(tmp_path / "spool").kept)
    assert described(archive) == sorted(
        [*["T1 native map"] * 2, "T1 native values", "T1 post-contrast map", "T1 post-contrast values"]
    )
    assert inspect(tmp_path / "spool").bytes == 0


ECV_MAPS = ("Partition coefficient map", "ECV map")


def test_a_line_that_comes_later_is_used_when_a_series_of_the_pair_is_sent_again(
    running, archive, contrasted, tmp_path
):
    listed = tmp_path / "haematocrits.csv"
    listed.write_text("study_uid,haematocrit\n")
    settings = {"outputs": ("map",), "ecv": {"haematocrits": listed}}

    def ecv_maps():
        return [each for each in archive.stored if each.SeriesDescription.startswith(ECV_MAPS)]

    with running([archive.destination()], **settings) as node:
        send(node.address, contrasted)
        wait_for(lambda: ecv_maps() and not inspect(tmp_path / "spool").deliveries)
        with listed.open("a") as opened:
            opened.write(f"{scanner.STUDY},{phantom.HAEMATOCRIT}\n")
        # What is processed is not processed anew by --retry.
        with closing(sqlite3.connect(tmp_path / "spool" / "spool.sqlite")) as database, database:
            make_series_due(database)
            assert database.execute("SELECT count(*) FROM series WHERE NOT done").fetchone() == (0,)
        send(node.address, scanner.series_of(contrasted, 3))
        wait_for(lambda: len(ecv_maps()) > 1 and not inspect(tmp_path / "spool").deliveries)
    before, after = ecv_maps()
    assert before.SOPInstanceUID != after.SOPInstanceUID
    assert [each.SeriesDescription.partition(",")[0] for each in (before, after)] == list(ECV_MAPS)


def batch(files, kept=(), broken=()):
    return StudyBatch({"1": {file.name: file for file in files}}, 1, tuple(kept), frozenset(broken))


def test_kept_series_give_levels_and_partners_and_no_objects(tmp_path, ring_engine, contrasted):
    files = []
    for number, each in enumerate(contrasted):
        files.append(tmp_path / f"{number}.dcm")
        each.save_as(files[-1], enforce_file_format=True)
    settings = Settings(ecv={"haematocrit": phantom.HAEMATOCRIT}, dicom={"outputs": OUTPUTS})
    processor = Processor(Pipeline(ring_engine), settings, lambda: None)

    def made(*arguments):
        outcome = processor.process(batch(*arguments))
        objects = [dcmread(BytesIO(data)) for _, data in outcome.objects]
        return outcome, sorted(each.SeriesDescription for each in objects)

    size = 2 * len(phantom.TIMES_MS)
    together, descriptions = made(files)
    assert (len(together.results), together.ecv, together.mapped) == (3, 1, frozenset(files))
    assert descriptions.count("ECV map, slice 0 (myostream)") == 1
    # The haematocrit is that of the node: the report must not pass it off as the patient's.
    assert sum(b"which holds for every patient" in data for _, data in together.objects) == 1
    native, without = made(files[:size])
    post, later = made(files[size:], files[:size])
    assert (native.ecv, post.ecv, len(post.results)) == (0, 1, 1)
    assert post.mapped == frozenset(files[size:])
    assert sorted([*without, *later]) == descriptions
    # The same objects, whether the series come together or apart.
    assert {uid for uid, _ in (*native.objects, *post.objects)} == {uid for uid, _ in together.objects}


def test_each_study_has_the_haematocrit_of_its_line(tmp_path, ring_engine, contrasted):
    files = []
    for number, each in enumerate(contrasted):
        files.append(tmp_path / f"{number}.dcm")
        each.save_as(files[-1], enforce_file_format=True)
    listed = tmp_path / "haematocrits.csv"
    listed.write_text("patient_id,study_date,haematocrit\nother,20240102,0.5\n")
    ecv = {"haematocrits": listed, "haematocrit": 0.3}
    settings = Settings(ecv=ecv, dicom={"outputs": ["map", "report"]})
    processor = Processor(Pipeline(ring_engine), settings, lambda: None)

    def made(line):
        listed.write_text(listed.read_text() + line)
        objects = [dcmread(BytesIO(data)) for _, data in processor.process(batch(files)).objects]
        (map_,) = (each for each in objects if each.SeriesDescription.startswith(ECV_MAPS))
        reports = ("ECV values", "Partition coefficient values")
        (report,) = (each for each in objects if each.SeriesDescription.startswith(reports))
        return map_.SOPInstanceUID, flags_of(report)

    without, texts = made("")
    assert "The file of ecv.haematocrits has no line for this study." in texts
    assert any("ecv.haematocrit of this node" in text for text in texts)
    broken, texts = made("Planted-ID-4711,20240102,42\n")
    assert any(text.startswith("Line 3 of the file of ecv.haematocrits is not used") for text in texts)
    assert "no-haematocrit" in texts
    listed.write_text("patient_id,study_date,haematocrit\n")
    found, texts = made("Planted-ID-4711,20240102,0.42\n")
    assert "file" in texts
    assert not any("haematocrit of this node" in text for text in texts)
    # An archive that keeps the first object of a UID must not drop the map with the line.
    assert len({without, broken, found}) == 3


def test_slices_of_two_patients_with_one_study_uid_are_no_pair(tmp_path, ring_engine, contrasted):
    files = []
    for number, each in enumerate(copy.deepcopy(contrasted)):
        each.PatientID = f"patient {each.SeriesNumber}"
        files.append(tmp_path / f"{number}.dcm")
        each.save_as(files[-1], enforce_file_format=True)
    settings = Settings(ecv={"haematocrit": phantom.HAEMATOCRIT}, dicom={"outputs": OUTPUTS})
    outcome = Processor(Pipeline(ring_engine), settings, lambda: None).process(batch(files))
    assert (len(outcome.results), outcome.ecv) == (3, 0)
    made = [dcmread(BytesIO(data)) for _, data in outcome.objects]
    assert {each.PatientID for each in made} == {"patient 1", "patient 3"}


def broken_after(address, datasets, end):
    """Store objects at a node and break the association off."""
    with associated(address) as association:
        statuses = [association.send_c_store(each).Status for each in datasets]
        if end == "abort":
            association.abort()
        else:
            association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    return statuses


@pytest.mark.parametrize("end", ["abort", pytest.param("connection", marks=pytest.mark.slow)])
def test_a_series_whose_tail_is_missing_is_flagged_and_made_anew_when_it_comes(
    running, archive, scanned, end
):
    molli = scanner.series_of(scanned, 1)
    with running([archive.destination()], outputs=["report"]) as node:
        assert broken_after(node.address, molli[:-2], end) == [0] * (len(molli) - 2)
        wait_for(lambda: archive.stored)
        texts = flags_of(archive.stored[0])
        assert "missing-images" in texts
        assert any("sending the series was broken off" in text for text in texts)
        send(node.address, molli[-2:])
        wait_for(lambda: len(archive.stored) >= 2)
        whole = archive.stored[1]
        assert "missing-images" not in flags_of(whole)
        evidence = whole.CurrentRequestedProcedureEvidenceSequence
        named = [
            item.ReferencedSOPInstanceUID
            for study in evidence
            for series in study.ReferencedSeriesSequence
            for item in series.ReferencedSOPSequence
        ]
        assert {each.SOPInstanceUID for each in molli} <= set(named)


def test_an_association_that_breaks_off_after_processing_has_the_series_made_anew(running, archive, scanned):
    molli = scanner.series_of(scanned, 1)
    with running([archive.destination()], outputs=["report"]) as node:
        with associated(node.address) as association:
            for each in molli[:-1]:
                association.send_c_store(each)
            wait_for(lambda: archive.stored)  # the sender waits for longer than idle_s
            association.abort()
        wait_for(lambda: len(archive.stored) >= 2)
    assert ["missing-images" in flags_of(each) for each in archive.stored] == [False, True]


def test_a_series_with_as_many_objects_as_it_states_lacks_none(running, archive, scanned):
    molli = copy.deepcopy(scanner.series_of(scanned, 1))
    for each in molli:
        each.NumberOfSeriesRelatedInstances = len(molli)
    with running([archive.destination()], outputs=["report"]) as node:
        broken_after(node.address, molli, "abort")
        wait_for(lambda: archive.stored)
    assert "missing-images" not in flags_of(archive.stored[0])


def test_two_associations_may_send_the_same_series(running, archive, scanned):
    molli = scanner.series_of(scanned, 1)
    with (
        running([archive.destination()], outputs=["report"]) as node,
        associated(node.address) as one,
        associated(node.address) as other,
    ):
        for number, each in enumerate(molli):
            assert (one, other)[number % 2].send_c_store(each).Status == 0
        one.release()
        other.release()
        wait_for(lambda: archive.stored)
    assert "missing-images" not in flags_of(archive.stored[0])
    assert len(archive.stored) == 1


def test_a_long_association_is_remembered_within_bounds(
    running, archive, scanned, tmp_path, monkeypatch, caplog
):
    """Series that are forgotten are complete; those of refused objects that are forgotten are flagged."""
    monkeypatch.setattr(receiver_module, "_MOST_CARRIED", 2)
    receive = ReceivedObjects.receive

    def refusing(self, received, data):
        if received.uid.endswith(".9"):
            raise SpoolFullError("its disk is full")
        return receive(self, received, data)

    monkeypatch.setattr(ReceivedObjects, "receive", refusing)
    objects = []
    for series in range(12):
        for number in (1, 9) if series < 6 else (1,):
            made = copy.deepcopy(scanned[0])
            made.SeriesInstanceUID = f"1.2.{series}"
            made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.{series}.{number}"
            objects.append(made)
    with running([archive.destination()], idle_s=60.0) as node:
        with associated(node.address) as association:
            statuses = [association.send_c_store(each).Status for each in objects]
            assert statuses == [0, 0xA700] * 6 + [0] * 6
            with closing(sqlite3.connect(tmp_path / "spool" / "spool.sqlite")) as database:
                states = database.execute("SELECT uid, released, broken FROM series").fetchall()
        assert {uid for uid, released, _ in states if not released} == {"1.2.9", "1.2.10", "1.2.11"}
        assert {uid for uid, _, broken in states if broken} == {f"1.2.{series}" for series in range(4)}
        wait_for(lambda: any("4 objects that were refused early" in each.message for each in caplog.records))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB for the spool of the test."""
    folder = tmp_path / "spool"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True)
    if made.returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder):
    """Fill the disk of a folder; return the file to remove."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as filling:
        while filling.write(bytes(4096)):
            pass
    return ballast


def test_a_disk_that_is_full_loses_nothing_and_works_again(
    running, archive, scanned, small_disk, monkeypatch
):
    # The check before each object is passed over: the write itself fails, as where others fill the disk.
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 40))
    molli = copy.deepcopy(scanner.series_of(scanned, 1))
    with running([archive.destination()], outputs=["report"], idle_s=60.0) as node:
        assert send(node.address, molli[:3]) == [0] * 3
        ballast = fill(small_disk)
        assert send(node.address, molli[3:]) == [0xA700] * (len(molli) - 3)
        assert len(list(small_disk.glob("*.dcm*"))) == 3
        assert inspect(small_disk).objects == 3
        ballast.unlink()
        for each in molli:
            each.NumberOfSeriesRelatedInstances = len(molli)
        assert send(node.address, molli[3:]) == [0] * (len(molli) - 3)
        wait_for(lambda: archive.stored)
    assert "missing-images" not in flags_of(archive.stored[0])


def test_while_the_disk_is_full_no_result_is_sent_again_and_again(
    running, archive, scanned, small_disk, caplog
):
    archive.stop()
    with running([archive.destination()], outputs=["report"], free_bytes=0) as node:
        for number in (1, 2):
            send(node.address, scanner.series_of(scanned, number))
        wait_for(lambda: inspect(small_disk).errors and inspect(small_disk).deliveries == {"archive": 2})
        ballast = fill(small_disk)
        archive.start()
        wait_for(lambda: "the spool cannot be used" in caplog.text)
        time.sleep(3.0)
        stored = uids(archive.stored)
        assert len(stored) <= len(set(stored)) + 1  # the one that SQLite's log had no more room for
        assert inspect(small_disk).deliveries["archive"] >= 1
        ballast.unlink()
        wait_for(lambda: not inspect(small_disk).deliveries)
    assert len(set(uids(archive.stored))) == 2
    assert "database or disk is full" in caplog.text
    assert "Traceback" not in caplog.text


def full(*_):
    """Fail as a spool on a full disk does."""
    raise sqlite3.OperationalError("database or disk is full")


@pytest.fixture
def unrecorded(monkeypatch):
    """No delivery can be recorded."""
    monkeypatch.setattr("inline.dicom.node.results.ResultQueue.delivered", full)


@pytest.mark.usefixtures("unrecorded")
def test_a_delivery_that_cannot_be_recorded_waits_longer_each_time(running, archive, scanned, caplog):
    with running([archive.destination()], outputs=["report"], retry_s=0.4, retry_most_s=1.6) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: archive.stored)
        time.sleep(3.0)  # 0.4 + 0.8 + 1.6 s
        assert len(archive.stored) <= 4
    assert "archive: the spool cannot be used; again in 2 s: database or disk is full" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.usefixtures("unrecorded")
def test_while_a_delivery_that_cannot_be_recorded_waits_no_association_is_open(
    running, archive, scanned, caplog
):
    with running([archive.destination()], outputs=["report"], retry_s=60.0, retry_most_s=60.0) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: "the spool cannot be used; again in 60 s" in caplog.text)
        wait_for(lambda: not archive.open(), 3.0)


def test_while_the_worker_waits_for_the_spool_its_engine_lives(running, archive, monkeypatch):
    monkeypatch.setattr(ReceivedObjects, "take", full)
    monkeypatch.setattr(node_module, "_BEAT_S", 0.1)
    with running([archive.destination()], retry_s=60.0, retry_most_s=60.0) as node:
        time.sleep(2.0)
        assert not {"worker", "engine"}.intersection(node.pulse.silent(1.0))


def test_series_that_cannot_be_taken_wait_with_the_reason_in_the_log(
    running, archive, scanned, monkeypatch, caplog
):
    take = ReceivedObjects.take
    failures = iter([sqlite3.OperationalError("database or disk is full")])

    def failing(self, idle_s, *, unread):
        if (error := next(failures, None)) is not None:
            raise error
        return take(self, idle_s, unread=unread)

    monkeypatch.setattr(ReceivedObjects, "take", failing)
    with running([archive.destination()], outputs=["report"]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: archive.stored)
    assert "the spool cannot be used: database or disk is full" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_series_of_which_an_object_was_refused_is_flagged_until_it_comes(
    running, archive, scanned, monkeypatch
):
    molli = scanner.series_of(scanned, 1)
    receive = ReceivedObjects.receive
    refused = {str(each.SOPInstanceUID) for each in molli[-3:]}

    def full(self, received, data):
        if received.uid in refused:
            raise SpoolFullError("its disk is full")
        return receive(self, received, data)

    monkeypatch.setattr(ReceivedObjects, "receive", full)
    with running([archive.destination()], outputs=["report"]) as node:
        assert send(node.address, molli)[-3:] == [0xA700] * 3
        wait_for(lambda: archive.stored)
        assert "missing-images" in flags_of(archive.stored[0])
        refused.clear()
        send(node.address, molli[-3:])
        wait_for(lambda: len(archive.stored) >= 2)
    assert "missing-images" not in flags_of(archive.stored[1])
