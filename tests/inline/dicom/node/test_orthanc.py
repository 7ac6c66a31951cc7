"""The node with a real archive: Orthanc, started by the test with a configuration and ports of its own."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.sop_class import (
    ComprehensiveSRStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from inline.dicom.node.spool import inspect

from .. import scanner
from .conftest import send, wait_for

ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
pytestmark = pytest.mark.skipif(ORTHANC is None, reason="Orthanc (Debian: orthanc) is not installed")

RESULTS = (ParametricMapStorage, SegmentationStorage, ComprehensiveSRStorage, SecondaryCaptureImageStorage)
OBJECTS = len(RESULTS)
ALL = ("map", "segmentation", "report", "capture")


class Orthanc:
    """One Orthanc with its storage in a folder, which outlasts its end; it knows a node at port ``node``."""

    def __init__(self, folder):
        self._folder, self._process = folder, None
        with ExitStack() as opened:
            free = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
            self.port, self._web, self.node = (each.getsockname()[1] for each in free)
        node = {"AET": "MYOSTREAM", "Host": "127.0.0.1", "Port": self.node, "AllowStorageCommitment": True}
        configuration = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "DicomAet": "ORTHANC",
            "DicomPort": self.port,
            "HttpPort": self._web,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "OverwriteInstances": True,
            "DicomModalities": {"node": node},
            "Plugins": [],
        }
        (folder / "orthanc.json").write_text(json.dumps(configuration), encoding="utf-8")

    def start(self):
        self._process = subprocess.Popen(
            [ORTHANC, str(self._folder / "orthanc.json")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._answers)

    def stop(self):
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self._web}{path}", timeout=10) as response:
            return response.read()

    def instances(self):
        return json.loads(self.get("/instances"))

    def results(self):
        """Everything that it holds of the node, as DICOM."""
        files = [dcmread(BytesIO(self.get(f"/instances/{each}/file"))) for each in self.instances()]
        return [each for each in files if each.Manufacturer == "myostream"]

    def destination(self):
        return {"name": "orthanc", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": self.port}

    def _answers(self):
        assert self._process.poll() is None, "Orthanc has ended"
        try:
            self.get("/system")
        except OSError:
            return False
        return True


@pytest.fixture
def orthanc(tmp_path):
    made = Orthanc(tmp_path)
    made.start()
    yield made
    made.stop()


def query(orthanc, **keys):
    """Answers of a C-FIND at series level."""
    entity = AE("VIEWER")
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = entity.associate("127.0.0.1", orthanc.port, ae_title="ORTHANC")
    request = Dataset()
    request.QueryRetrieveLevel = "SERIES"
    for name, value in keys.items():
        setattr(request, name, value)
    answers = list(association.send_c_find(request, StudyRootQueryRetrieveInformationModelFind))
    association.release()
    return [identifier for status, identifier in answers if status.Status in (0xFF00, 0xFF01)]


def retrieve(orthanc, series):
    """Objects of a series by C-GET."""
    found = []
    entity = AE("VIEWER")
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    roles = []
    for kind in RESULTS:
        entity.add_requested_context(kind)
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scp_role, role.scu_role = kind, True, False
        roles.append(role)
    association = entity.associate(
        "127.0.0.1", orthanc.port, ae_title="ORTHANC", ext_neg=roles,
        evt_handlers=[(evt.EVT_C_STORE, lambda event: (found.append(event.dataset), 0)[1])],
    )  # fmt: skip
    request = Dataset()
    request.QueryRetrieveLevel = "SERIES"
    request.StudyInstanceUID, request.SeriesInstanceUID = scanner.STUDY, series
    list(association.send_c_get(request, StudyRootQueryRetrieveInformationModelGet))
    association.release()
    return found


def test_results_are_stored_queried_retrieved_and_compared(orthanc, running, scanned):
    send(("127.0.0.1", orthanc.port), scanned, called="ORTHANC")
    start = time.monotonic()
    with running([orthanc.destination()], outputs=ALL) as node:
        assert set(send(node.address, scanned)) == {0}
        wait_for(lambda: len(orthanc.instances()) == len(scanned) + 3 * OBJECTS)
    print(f"all results in Orthanc after {time.monotonic() - start:.1f} s")
    stored = {str(each.SOPInstanceUID): each for each in orthanc.results()}
    assert len(stored) == 3 * OBJECTS
    (segmentations, reports, *_) = (
        query(orthanc, StudyInstanceUID=scanner.STUDY, Modality=kind, SeriesInstanceUID="", PatientName="")
        for kind in ("SEG", "SR")
    )
    assert len(segmentations) == len(reports) == 3
    own = {str(each.SOPInstanceUID) for each in scanned}
    retrieved = [
        each for found in (*segmentations, *reports) for each in retrieve(orthanc, found.SeriesInstanceUID)
    ]
    assert len(retrieved) == 6
    for each in retrieved:
        assert each == stored[str(each.SOPInstanceUID)]
        assert each.PatientName == scanner.PATIENT
        references = {item.value for item in each.iterall() if item.keyword == "ReferencedSOPInstanceUID"}
        assert references & own, "a viewer shows it beside its source images"
        assert references <= own | set(stored)


def test_results_wait_for_its_storage_commitment(orthanc, running, scanned, tmp_path, caplog):
    caplog.set_level("INFO")
    destination = {**orthanc.destination(), "commitment": True}
    with running([destination], outputs=ALL, port=orthanc.node) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: len(orthanc.instances()) == OBJECTS)
        wait_for(lambda: not inspect(tmp_path / "spool").deliveries)
    assert "4 objects reported as kept, 0 as failed, 4 were waited for" in caplog.text


@pytest.mark.slow
def test_nothing_is_lost_while_the_archive_is_down(orthanc, running, scanned, tmp_path):
    orthanc.stop()
    with running([orthanc.destination()]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: inspect(tmp_path / "spool").errors)
        orthanc.start()
        wait_for(lambda: len(orthanc.instances()) == 2)
        orthanc.stop()
        send(node.address, [*scanner.series_of(scanned, 2), *scanner.series_of(scanned, 3)])
        wait_for(lambda: inspect(tmp_path / "spool").deliveries == {"orthanc": 4})
        orthanc.start()
        wait_for(lambda: len(orthanc.instances()) == 6)
        wait_for(lambda: not inspect(tmp_path / "spool").deliveries)
    assert len({str(each.SOPInstanceUID) for each in orthanc.results()}) == 6
