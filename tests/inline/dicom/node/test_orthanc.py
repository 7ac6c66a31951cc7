"""The node with a real archive: Orthanc, started by the test with a configuration and ports of its own."""

import json
import logging
import re
import shutil
import socket
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

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
PAGE = Path(__file__).parents[4] / "docs" / "orthanc.md"
ALL = ("map", "segmentation", "report", "capture")


class Orthanc:
    """One Orthanc with its storage in a folder, which outlasts its end; it knows a node at port ``node``."""

    def __init__(self, folder):
        self._folder, self._process = folder, None
        with ExitStack() as opened:
            free = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
            self.port, self._web, self.node = (each.getsockname()[1] for each in free)
        node = {"AET": "MYOSTREAM", "Host": "127.0.0.1", "Port": self.node, "AllowStorageCommitment": True}
        self._configuration = {
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

    def start(self, **changes):
        """Start with the configuration and changes to it."""
        self._configuration |= changes
        (self._folder / "orthanc.json").write_text(json.dumps(self._configuration), encoding="utf-8")
        with (self._folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(
                [ORTHANC, str(self._folder / "orthanc.json")], stdout=log, stderr=log
            )
        wait_for(self._answers)

    def stop(self):
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def get(self, path, data=None):
        """The answer to a GET, or to a POST of some data."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._web}{path}", data, timeout=10) as response:
            return response.read()

    def jobs(self):
        """States of the jobs, in the order of their beginning."""
        jobs = sorted(json.loads(self.get("/jobs?expand")), key=lambda job: job["CreationTime"])
        return [each["State"] for each in jobs]

    def errors(self):
        log = (self._folder / "orthanc.log").read_text(encoding="utf-8")
        return [line for line in log.splitlines() if line.startswith("E")]

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


def block(language):
    """The one block of a language on the page."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture
def routing(tmp_path):
    """Orthanc with the configuration and the script of the page, and the page's settings of the node."""
    stated, settings = json.loads(block("json")), tomllib.loads(block("toml"))["dicom"]
    (tmp_path / "myostream.lua").write_text(block("lua"), encoding="utf-8")
    ((name, node),) = stated["DicomModalities"].items()
    (destination,) = settings["destinations"]
    assert (node["Host"], node["Port"]) == (settings["host"], settings["port"])
    assert stated["DicomPort"] == destination["port"]
    made = Orthanc(tmp_path)
    made.start(
        DicomAet=stated["DicomAet"],
        DicomModalities={name: node | {"Host": "127.0.0.1", "Port": made.node}},
        StableAge=1,
        LuaScripts=[str(tmp_path / "myostream.lua")],
    )
    settings |= {"host": "127.0.0.1", "port": made.node, "peers": ["127.0.0.1/32"]}
    settings["destinations"] = [destination | {"host": "127.0.0.1", "port": made.port}]
    yield made, settings
    made.stop()


def test_the_script_of_the_page_routes_mr_series_alone(routing, running, scanned, caplog):
    caplog.set_level(logging.INFO)
    orthanc, settings = routing
    with running(settings.pop("destinations"), outputs=ALL, **settings):
        orthanc.get("/modalities/myostream/echo", b"")
        send(("127.0.0.1", orthanc.port), scanned, called="ORTHANC")
        wait_for(lambda: len(orthanc.instances()) == len(scanned) + 3 * OBJECTS)
        time.sleep(3.0)  # the results become stable too
        assert orthanc.jobs() == ["Success"] * 3
        assert orthanc.errors() == []
        (study,) = json.loads(orthanc.get("/studies"))
        with pytest.raises(urllib.error.HTTPError, match="500"):
            orthanc.get("/modalities/myostream/store", study.encode())
        assert "Cannot transcode" in orthanc.errors()[0]
    lines = [each.getMessage() for each in caplog.records if "not accepted" in each.getMessage()]
    # It proposes 60 classes in each association, and those of the objects.
    assert sum(ComprehensiveSRStorage.name in line for line in lines) == 1


def test_a_series_that_came_while_the_node_was_down_is_sent_by_its_job(routing, running, scanned):
    orthanc, settings = routing
    molli = scanner.series_of(scanned, 1)
    send(("127.0.0.1", orthanc.port), molli, called="ORTHANC")
    wait_for(lambda: orthanc.jobs() == ["Failure"])
    (job,) = json.loads(orthanc.get("/jobs"))
    with running(settings.pop("destinations"), outputs=ALL, **settings):
        orthanc.get(f"/jobs/{job}/resubmit", b"")
        wait_for(lambda: len(orthanc.instances()) == len(molli) + OBJECTS)
    assert orthanc.jobs() == ["Success"]
