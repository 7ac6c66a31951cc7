"""Storage commitment: an archive that commits, on either association, refuses, or never reports."""

import threading
from contextlib import suppress

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from inline.data.errors import ConfigurationError
from inline.dicom.node.commitment import read_report
from inline.dicom.node.spool import inspect
from inline.settings import load_settings

from .. import scanner
from .conftest import OUTPUTS, Archive, send, wait_for

OBJECTS = len(OUTPUTS)
PUSH = StorageCommitmentPushModel
DUPLICATE = 0x0112
"""Failure reason: no such object instance."""


class Committing(Archive):
    """An archive whose reports on storage commitment a test decides.

    Attributes:
        node: address that reports go to; None sends them on the association of the request.
        answers: status of each request, and what becomes of its report: True commits, False fails, None
            sends none. The last one is repeated.
    """

    def __init__(self):
        super().__init__()
        self._entity.add_supported_context(PUSH, scu_role=True, scp_role=True)
        self.node, self.answers, self.transactions, self.threads = None, [(0, True)], [], []

    def start(self, context=None):
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._asked)]
        self._server = self._entity.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=handlers, ssl_context=context
        )
        self.port = self._server.socket.getsockname()[1]

    def _asked(self, event):
        wanted = event.action_information
        self.transactions.append(wanted.TransactionUID)
        status, kept = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status == 0 and kept is not None:
            arguments = (event.assoc, report_on(wanted, kept=kept))
            self.threads.append(threading.Thread(target=self._report, args=arguments))
            self.threads[-1].start()
        return status, None

    def _report(self, association, report):
        if self.node is not None:
            association = called(self.node)
        association.send_n_event_report(
            report, 2 if "FailedSOPSequence" in report else 1, PUSH, StorageCommitmentPushModelInstance
        )
        if self.node is not None:
            association.release()

    def stop(self):
        for each in self.threads:
            each.join(10)
        super().stop()


def report_on(wanted, *, kept):
    """The report on all objects of a request."""
    made = Dataset()
    made.TransactionUID = wanted.TransactionUID
    for each in () if kept else wanted.ReferencedSOPSequence:
        each.FailureReason = DUPLICATE
    setattr(made, "ReferencedSOPSequence" if kept else "FailedSOPSequence", wanted.ReferencedSOPSequence)
    return made


def reference(stored):
    """The item of a report on an object, with a reason."""
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = stored.SOPClassUID, stored.SOPInstanceUID
    made.FailureReason = DUPLICATE
    return made


def called(address, title="ARCHIVE"):
    """An association of an archive with the node, for reports."""
    entity = AE(title)
    entity.add_requested_context(PUSH)
    association = entity.associate(*address, ae_title="MYOSTREAM")
    assert association.is_established
    return association


@pytest.fixture
def committing():
    made = Committing()
    made.start()
    yield made
    made.stop()


def destination(archive):
    return archive.destination(commitment=True)


@pytest.mark.parametrize(
    "own",
    [
        pytest.param(True, id="own association"),
        pytest.param(False, id="that of the request", marks=pytest.mark.slow),
    ],
)
def test_a_result_is_kept_until_it_is_committed(running, committing, scanned, tmp_path, own):
    spool = tmp_path / "spool"
    committing.answers = [(0, None)]
    with running([destination(committing)], calling_ae_titles=["SCANNER"]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: committing.transactions)
        waiting = inspect(spool)
        assert waiting.deliveries == {"archive": OBJECTS}
        assert "storage commitment" in waiting.errors["archive"]
        committing.node, committing.answers = (node.address if own else None), [(0, True)]
        send(node.address, scanner.series_of(scanned, 2))
        wait_for(lambda: len(committing.stored) == 2 * OBJECTS)
        wait_for(lambda: inspect(spool).deliveries == {"archive": OBJECTS})
        # The report that comes late is recorded too.
        first = Dataset()
        first.TransactionUID, first.ReferencedSOPSequence = committing.transactions[0], []
        for each in committing.stored[:OBJECTS]:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = each.SOPClassUID, each.SOPInstanceUID
            first.ReferencedSOPSequence.append(item)
        association = called(node.address)
        answer, _ = association.send_n_event_report(first, 1, PUSH, StorageCommitmentPushModelInstance)
        association.release()
        assert answer.Status == 0
        assert inspect(spool).deliveries == {}
    assert len(committing.stored) == 2 * OBJECTS


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((0x0110, None), "refused storage commitment with status 0x0110"),
        ((0, False), "failure reason 0x0112"),
    ],
    ids=["request", "report"],
)
def test_a_result_that_is_refused_is_sent_again(running, committing, scanned, tmp_path, answer, error):
    committing.answers = [answer]
    with running([destination(committing)]) as node:
        committing.node = node.address
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: error in inspect(tmp_path / "spool").errors.get("archive", ""))
        committing.answers = [(0, True)]
        wait_for(lambda: inspect(tmp_path / "spool").deliveries == {})
    assert len(committing.stored) >= 2 * OBJECTS
    assert len(set(committing.transactions)) == len(committing.transactions) >= 2


@pytest.mark.slow
def test_without_a_report_in_time_a_result_is_sent_again(running, committing, scanned, tmp_path, caplog):
    committing.answers = [(0, None), (0, True)]
    with running([destination(committing)], commitment_s=1.5) as node:
        committing.node = node.address
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: len(committing.transactions) == 2)
        wait_for(lambda: inspect(tmp_path / "spool").deliveries == {})
    assert len(committing.stored) == 2 * OBJECTS
    assert "no report on the storage commitment of 2 objects came in time" in caplog.text


def test_an_archive_without_storage_commitment_keeps_results_in_the_queue(
    running, archive, scanned, tmp_path
):
    with running([archive.destination(commitment=True)]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        expected = {"archive": "it accepts no such kind of object or service"}
        wait_for(lambda: inspect(tmp_path / "spool").errors == expected)
    assert inspect(tmp_path / "spool").deliveries == {"archive": OBJECTS}


def test_a_report_that_nobody_waits_for_or_that_is_damaged_changes_nothing(
    running, committing, scanned, tmp_path, caplog
):
    committing.answers = [(0, None)]
    with running([destination(committing)]) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: committing.transactions)
        association = called(node.address)
        unknown, damaged = Dataset(), Dataset()
        unknown.TransactionUID, unknown.ReferencedSOPSequence = "1.2.3", []
        damaged.ReferencedSOPSequence = []
        for report, expected in ((unknown, 0), (damaged, 0x0110)):
            status, _ = association.send_n_event_report(report, 1, PUSH, StorageCommitmentPushModelInstance)
            assert status.Status == expected
        association.release()
        assert inspect(tmp_path / "spool").deliveries == {"archive": OBJECTS}
    assert "0 were waited for" in caplog.text


def test_a_result_that_a_report_states_as_kept_and_as_failed_stays(running, committing, scanned, tmp_path):
    committing.answers = [(0, None)]
    with running([destination(committing)], retry_s=60.0, retry_most_s=60.0) as node:
        send(node.address, scanner.series_of(scanned, 1))
        wait_for(lambda: committing.transactions)
        report = Dataset()
        report.TransactionUID = committing.transactions[0]
        for name in ("ReferencedSOPSequence", "FailedSOPSequence"):
            setattr(report, name, [reference(each) for each in committing.stored])
        association = called(node.address)
        association.send_n_event_report(report, 2, PUSH, StorageCommitmentPushModelInstance)
        association.release()
        found = inspect(tmp_path / "spool")
    assert found.deliveries == {"archive": OBJECTS}
    assert "failure reason 0x0112" in found.errors["archive"]


def test_a_node_without_such_a_destination_offers_no_storage_commitment(running, archive):
    with running([archive.destination()]) as node:
        entity = AE("ARCHIVE")
        entity.add_requested_context(PUSH)
        with suppress(AssertionError):
            assert not entity.associate(*node.address, ae_title="MYOSTREAM").is_established
            return
    pytest.fail("the association was accepted")


def test_a_url_has_no_storage_commitment():
    with pytest.raises(ConfigurationError, match="leave commitment out"):
        load_settings(dicom={"destinations": [{"name": "web", "url": "http://x", "commitment": True}]})


def test_a_report_without_its_transaction_is_none():
    with pytest.raises(AttributeError):
        read_report(Dataset())
