"""A node in this process, with an engine that returns at once, and archives for it to send to."""

import copy
import shutil
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from itertools import count

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from pynetdicom.sop_class import EnhancedMRImageStorage, MRImageStorage, Verification

from inline.dicom.node.node import DicomNode
from inline.pipeline import Pipeline
from inline.settings import Settings

from .. import scanner

OUTPUTS = ("map", "report")
"""Kinds of objects that the node makes where a test says nothing else."""


PLANTED = ("planted", "mustermann", "mustermänn", "4711")


class Archive:
    """A C-STORE provider whose status and presence a test decides."""

    def __init__(self):
        self.stored, self.status, self._server = [], 0, None
        self._entity = AE("ARCHIVE")
        self._entity.supported_contexts = AllStoragePresentationContexts
        self.port, self.associations, self.syntaxes = 0, 0, set()

    def start(self, context=None):
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_ACCEPTED, self._accepted)]
        address = ("127.0.0.1", self.port)
        self._server = self._entity.start_server(
            address, block=False, evt_handlers=handlers, ssl_context=context
        )
        self.port = self._server.socket.getsockname()[1]

    def stop(self):
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def open(self):
        """Associations that are open."""
        return [each for each in self._server.active_associations if each.is_established]

    def accept(self, *syntaxes):
        """Start anew, and accept these transfer syntaxes alone."""
        self.stop()
        kinds = [each.abstract_syntax for each in AllStoragePresentationContexts]
        self._entity.supported_contexts = []  # else these are added
        self._entity.supported_contexts = [build_context(each, list(syntaxes)) for each in kinds]
        self.start()

    def _accepted(self, _):
        self.associations += 1

    def _store(self, event):
        self.syntaxes.add(event.context.transfer_syntax)
        if self.status == 0:
            self.stored.append(event.dataset)
        return self.status

    def destination(self, **others):
        return {"name": "archive", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": self.port, **others}


@contextmanager
def stopping(port, stops_at, takes=1 << 30):
    """A way to an archive, for one connection, that stops within a message without closing; its own port.

    ``stops_at``: message of the archive that it passes on by half, counted from 1; ``takes``: bytes that it
    takes of the sender.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as opened:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def serve():
            near = opened.enter_context(listening.accept()[0])
            far = opened.enter_context(socket.create_connection(("127.0.0.1", port)))

            def forth(left=takes):
                while left > 0 and (data := near.recv(min(left, 1 << 16))):
                    left -= len(data)
                    far.sendall(data)

            threading.Thread(target=forth, daemon=True).start()
            for number in count(1):
                data = far.recv(1 << 16)
                near.sendall(data[: len(data) // 2] if number == stops_at else data)
                if number == stops_at or not data:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


@pytest.fixture
def archive():
    made = Archive()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def running(tmp_path, ring_engine):
    """A context manager: a node with these settings of its section, and the spool of the test."""

    @contextmanager
    def run(destinations, ecv=None, log=None, **settings):
        values = {
            "port": 0,
            "spool": tmp_path / "spool",
            "idle_s": 0.5,
            "retry_s": 0.3,
            "retry_most_s": 0.6,
            "outputs": OUTPUTS,
        }
        made = Settings(
            ecv=ecv or {}, log=log or {}, dicom={**values, "destinations": destinations, **settings}
        )
        node = DicomNode(made, lambda: Pipeline(ring_engine))
        thread = threading.Thread(target=node.serve)
        thread.start()
        try:
            yield node
        finally:
            node.stop()
            thread.join()

    return run


@pytest.fixture(scope="session")
def simulated():
    return scanner.examination(1, size=96)


@pytest.fixture(scope="session")
def scanned(simulated):
    """Objects of one slice: MOLLI, T2-prep, and a map of the scanner."""
    return [*scanner.classic(simulated[1]), *scanner.map_series(simulated[0])]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for localhost that is its own authority, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    file, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-keyout", str(key), "-out", str(file), "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return file, key


@contextmanager
def associated(address, calling="SCANNER", called="MYOSTREAM", context=None):
    """An association of a scanner with a node; None where it is rejected."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    for kind in (MRImageStorage, EnhancedMRImageStorage, Verification):
        entity.add_requested_context(kind)
    tls = None if context is None else (context, "localhost")
    association = entity.associate(*address, ae_title=called, tls_args=tls)
    try:
        yield association if association.is_established else None
    finally:
        if association.is_established:
            association.release()


def send(address, datasets, **others):
    """Store objects at a node; return their statuses."""
    with associated(address, **others) as association:
        assert association is not None
        return [association.send_c_store(each).get("Status") for each in datasets]


def wait_for(condition, seconds=60.0):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def everywhere(datasets):
    """The objects with the planted name in more places, in forms that libraries complain about."""
    made = copy.deepcopy(datasets)
    for each in made:
        each.SeriesDescription = f"{each.SeriesDescription} Planted"
        each.ProtocolName = "T1map_MOLLI Planted"
        each.PatientName = "Mustermann Planted"  # without components
        each.PatientSex = "Planted"
        each.StudyTime = "Planted"
        each.ImageComments = "TI Planted"
        each.StationName = "Planted\r\nforged line"
    return made
