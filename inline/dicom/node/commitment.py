"""Storage commitment of results, push model (PS3.4 annex J), as its user.

A destination that commits takes over the responsibility for objects. Its report may come minutes later, on
the association of the request or on one that it opens to the node.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset
from pydicom.filereader import read_file_meta_info
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

_log = logging.getLogger(__name__)

PUSH_MODEL: Final = StorageCommitmentPushModel
_REQUEST: Final = 1
"""Action type: request storage commitment."""
_PROCESSING_FAILURE: Final = 0x0110


@dataclass(frozen=True, slots=True)
class Commitment:
    """Report of a destination on one request.

    Attributes:
        transaction: UID of the request.
        committed: SOP Instance UIDs that it keeps.
        failed: those that it does not, with the reason (PS3.3 C.14.1.1).
    """

    transaction: str
    committed: frozenset[str]
    failed: Mapping[str, int]


def request_commitment(association: Association, files: Sequence[Path], transaction: str) -> str:
    """Request storage commitment of stored objects; return why it was refused, or empty.

    Args:
        association: with a presentation context of the push model.
        files: of the objects.
        transaction: UID, which the report states.
    """
    wanted = Dataset()
    wanted.TransactionUID = transaction
    wanted.ReferencedSOPSequence = [_reference(file) for file in files]
    try:
        status, _ = association.send_n_action(
            wanted, _REQUEST, PUSH_MODEL, StorageCommitmentPushModelInstance
        )
    except (ValueError, RuntimeError):
        return "it does not offer storage commitment, or has ended the association"
    if "Status" not in status:
        return "it ended the association"
    code = int(status.Status)
    return f"it refused storage commitment with status 0x{code:04X}" if code else ""


def report_handler(reported: Callable[[Commitment], None]) -> Callable[[Event], tuple[int, Dataset | None]]:
    """Return the handler of N-EVENT-REPORT that passes reports on.

    A report is acknowledged if it could be read and recorded; else its sender keeps it.
    """

    def handle(event: Event) -> tuple[int, Dataset | None]:
        try:
            reported(read_report(event.event_information))
        except Exception as error:  # of the spool, and of any kind for a damaged report
            _log.error("a report on storage commitment was not recorded: %s", type(error).__name__)
            return _PROCESSING_FAILURE, None
        return 0, None

    return handle


def read_report(information: Dataset) -> Commitment:
    """Return the report of an event.

    Raises:
        AttributeError, TypeError, ValueError: it lacks a UID.
    """

    def items(name: str) -> Sequence[Any]:
        return information.get(name) or ()

    return Commitment(
        str(information.TransactionUID),
        frozenset(str(each.ReferencedSOPInstanceUID) for each in items("ReferencedSOPSequence")),
        {
            str(each.ReferencedSOPInstanceUID): int(each.get("FailureReason") or 0)
            for each in items("FailedSOPSequence")
        },
    )


def _reference(file: Path) -> Dataset:
    meta, made = read_file_meta_info(file), Dataset()
    made.ReferencedSOPClassUID = meta.MediaStorageSOPClassUID
    made.ReferencedSOPInstanceUID = meta.MediaStorageSOPInstanceUID
    return made
