"""Delivery of objects to archives that break off, fall silent or accept few transfer syntaxes."""

import copy
import socket
import ssl
import threading
import time
from contextlib import suppress

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from inline.dicom.node import delivery
from inline.settings import DicomDestination

from .. import scanner
from .conftest import Archive, send, stopping, wait_for

ENDED = "it ended the association"


class Breaking(Archive):
    """An archive that aborts its association at some objects, or responds late."""

    def __init__(self):
        super().__init__()
        self.aborted, self.silent_s = (), 0.0

    def _store(self, event):
        number = event.dataset.InstanceNumber
        time.sleep(self.silent_s)
        if number in self.aborted:
            event.assoc.abort()
            return 0xA700
        return super()._store(event)


@pytest.fixture
def breaking():
    made = Breaking()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def files(scanned, tmp_path):
    made = []
    for number, each in enumerate(copy.deepcopy(scanned[:5]), 1):
        each.InstanceNumber = number
        made.append(tmp_path / f"{number}.dcm")
        each.save_as(made[-1], enforce_file_format=True)
    return made


def transport(archive):
    return delivery.StoreTransport(DicomDestination(**archive.destination()), "MYOSTREAM", None)


def silent(port):
    return f"127.0.0.1:{port} does not answer"


def numbers(archive):
    return [each.InstanceNumber for each in archive.stored]


@pytest.mark.parametrize("aborted", [(1,), (5,), (2, 3), (1, 2, 3, 4, 5)])
def test_an_object_that_ends_the_association_holds_up_no_other(breaking, files, aborted):
    breaking.aborted = aborted
    problems = list(transport(breaking).send(files))
    assert problems == [ENDED if number in aborted else "" for number in range(1, 6)]
    assert numbers(breaking) == [number for number in range(1, 6) if number not in aborted]
    assert breaking.associations == len(aborted) + (5 not in aborted)


def test_a_silent_archive_is_waited_for_once(breaking, files, monkeypatch):
    monkeypatch.setattr(delivery, "_TIMEOUT_S", 0.5)
    breaking.silent_s = 1.5
    assert list(transport(breaking).send(files)) == [silent(breaking.port)] * 5
    assert breaking.associations == 1


def test_an_archive_that_ends_each_association_late_is_left_until_the_next_attempt(
    breaking, files, monkeypatch
):
    monkeypatch.setattr(delivery, "_TIMEOUT_S", 1.0)
    breaking.aborted, breaking.silent_s = (1, 2, 3, 4, 5), 0.6
    assert list(transport(breaking).send(files)) == [ENDED] * 5
    assert breaking.associations == 2


@pytest.mark.parametrize(("stops_at", "takes"), [(1, 1 << 30), (2, 1 << 30), (0, 100_000)])
def test_an_archive_that_stops_within_a_message_is_left_until_the_next_attempt(
    archive, files, monkeypatch, stops_at, takes
):
    """It sends half of its acceptance or of its response, or takes no more bytes of an object."""
    monkeypatch.setattr(delivery, "_TIMEOUT_S", 1.0)
    large = dcmread(files[0])
    large.Rows = large.Columns = 2048  # more than the buffers of a connection hold
    large.PixelData = bytes(2 * 2048 * 2048)
    large.save_as(files[0])
    found = []
    with stopping(archive.port, stops_at, takes) as port:
        transport = delivery.StoreTransport(
            DicomDestination(**{**archive.destination(), "port": port}), "MYOSTREAM", None
        )
        sender = threading.Thread(target=lambda: found.extend(transport.send(files[:1])), daemon=True)
        sender.start()
        sender.join(15)
        assert not sender.is_alive()
    assert found in ([silent(port)], [ENDED])


def test_the_kinds_of_objects_are_read_once(breaking, files, monkeypatch):
    read, reader = [], delivery.read_file_meta_info
    monkeypatch.setattr(delivery, "read_file_meta_info", lambda file: read.append(file) or reader(file))
    breaking.aborted = (1, 2, 3)
    assert list(transport(breaking).send(files)) == [ENDED] * 3 + [""] * 2
    assert read == files


@pytest.mark.parametrize("gone", [(1,), (3,), (5,), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("late", [False, True], ids=["before", "while others are sent"])
def test_a_file_that_was_removed_holds_up_no_other(breaking, files, monkeypatch, gone, late):
    reader = delivery.read_file_meta_info

    def read(file):
        meta = reader(file)
        if file == files[-1]:
            remove()
        return meta

    def remove():
        for number in gone:
            files[number - 1].unlink()

    if late:
        monkeypatch.setattr(delivery, "read_file_meta_info", read)
    else:
        remove()
    expected = ["its file cannot be read any more" if number in gone else "" for number in range(1, 6)]
    assert list(transport(breaking).send(files)) == expected
    assert numbers(breaking) == [number for number in range(1, 6) if number not in gone]


def test_after_a_break_an_archive_that_is_gone_is_the_reason(breaking, files):
    breaking.aborted = (2,)
    problems = transport(breaking).send(files)
    found = [next(problems), next(problems)]
    breaking.stop()
    assert [*found, *problems] == ["", ENDED, *[silent(breaking.port)] * 3]


def test_a_rejected_association_is_stated_with_its_reason_and_both_ae_titles(archive, files):
    archive._entity.require_called_aet = True
    wrong = DicomDestination(**archive.destination(ae_title="OTHER"))
    problems = list(delivery.StoreTransport(wrong, "MYOSTREAM", None).send(files))
    assert set(problems) == {
        f"127.0.0.1:{archive.port} rejected the association (Called AE title not recognised); its AE title "
        "is 'OTHER' here, that of this node 'MYOSTREAM'"
    }


def test_an_archive_of_the_default_syntax_alone_receives_the_same_values(archive, files):
    archive.accept(ImplicitVRLittleEndian)
    assert list(transport(archive).send(files)) == [""] * 5
    assert archive.syntaxes == {ImplicitVRLittleEndian}
    for file, received in zip(files, archive.stored, strict=True):
        assert dcmread(file) == received


def test_where_both_are_accepted_objects_stay_as_they_are(archive, files):
    archive.accept(ImplicitVRLittleEndian, ExplicitVRLittleEndian)
    assert list(transport(archive).send(files)) == [""] * 5
    assert archive.syntaxes == {ExplicitVRLittleEndian}


def test_compressed_objects_are_not_converted(archive, files):
    compressed = dcmread(files[0])
    compressed.compress(RLELossless, generate_instance_uid=False)
    compressed.save_as(files[0])
    archive.accept(ImplicitVRLittleEndian)
    assert list(transport(archive).send(files[:1])) == ["it accepts no such kind of object or service"]
    assert list(transport(archive).send(files)) == ["it does not accept this kind of object", *[""] * 4]
    archive.accept(ImplicitVRLittleEndian, RLELossless)
    assert list(transport(archive).send(files[:1])) == [""]
    assert archive.stored[-1].PixelData == compressed.PixelData


def test_results_reach_an_archive_of_the_default_syntax_alone(running, archive, scanned):
    """Map, segmentation, report and capture, with the pixels that another archive receives."""
    other = Archive()
    other.accept(ImplicitVRLittleEndian)
    both = [archive.destination(), {**other.destination(), "name": "implicit"}]
    try:
        with running(both, outputs=("map", "segmentation", "report", "capture")) as node:
            send(node.address, scanner.series_of(scanned, 1))
            wait_for(lambda: len(archive.stored) == len(other.stored) == 4)
    finally:
        other.stop()
    assert (archive.syntaxes, other.syntaxes) == ({ExplicitVRLittleEndian}, {ImplicitVRLittleEndian})
    theirs = {each.SOPInstanceUID: each for each in other.stored}
    for each in archive.stored:
        for name in ("PixelData", "FloatPixelData"):
            assert each.get(name) == theirs[each.SOPInstanceUID].get(name)


def test_a_removed_file_does_not_count_as_silence_of_a_web_service(files):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    files[1].unlink()
    service = DicomDestination(name="web", url=f"http://127.0.0.1:{port}")
    problems = list(delivery.WebTransport(service, ssl.create_default_context()).send(files[:3]))
    assert problems == [
        f"http://127.0.0.1:{port} does not answer (ConnectionRefusedError)",
        "its file cannot be read any more",
        f"http://127.0.0.1:{port} does not answer (ConnectionRefusedError)",
    ]


@pytest.mark.parametrize(
    "start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"], ids=["headers", "body"]
)
@pytest.mark.parametrize(
    ("tls", "late_s"), [(False, 0.0), (True, 0.0), (True, 1.5)], ids=["http", "https", "late handshake"]
)
def test_a_web_service_that_answers_bit_by_bit_is_left_until_the_next_attempt(
    files, monkeypatch, start, tls, late_s, certificate
):
    monkeypatch.setattr(delivery, "_REQUEST_S", 1.0)
    ended, found = threading.Event(), []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            connection = listening.accept()[0]
            time.sleep(late_s)
            with context.wrap_socket(connection, server_side=True) if tls else connection as near:
                threading.Thread(target=lambda: [*iter(lambda: near.recv(1 << 16), b"")], daemon=True).start()
                with suppress(OSError):
                    near.sendall(start)
                    while not ended.wait(0.1):
                        near.sendall(b"x")

        threading.Thread(target=serve, daemon=True).start()
        url = f"http{'s' * tls}://localhost:{listening.getsockname()[1]}"
        web = delivery.WebTransport(
            DicomDestination(name="web", url=url), ssl.create_default_context(cafile=certificate[0])
        )
        sender = threading.Thread(target=lambda: found.extend(web.send(files[:1])), daemon=True)
        sender.start()
        sender.join(15)
        ended.set()
        assert not sender.is_alive()
    assert found[0].startswith(f"{url} does not answer (")
