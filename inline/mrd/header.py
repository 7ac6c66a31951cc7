"""Parts of the XML header that mapping needs."""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from inline.mrd.text import number, parse_xml

COUNTERS: Final = ("slice", "contrast", "set", "repetition", "phase", "average")
"""Counters of an image header that the header's encoding limits bound."""
_UID: Final = re.compile(r"(?=.*\.)(?=.*[1-9])[0-9.]{1,128}")
"""A stated UID; placeholders (XXXX, 0.0) would mix up anonymised patients."""
_LONGEST: Final = 1024
"""Characters of a text that are kept, for as long as the connection lasts."""
_IDENTIFIERS: Final = ("patientName", "patientID", "accessionNumber")
"""Elements that are another's in another patient."""
_PLACEHOLDER: Final = re.compile(r"[x0?.-]*+|anon.*+|unknown.*+|none|n/?a|patient", re.IGNORECASE)
"""Form of these elements in headers of anonymised patients."""
_DAY: Final = re.compile(r"([0-9]{4})([-.]?)([0-9]{2})\2([0-9]{2})")
"""Date as MRD, DICOM and its first edition state it."""
_MOST_SPACES: Final = 64
"""Encodings whose reconstructed space is kept."""
_FIELDS_T: Final = 0.1, 20.0
"""Field strengths of scanners, tesla; one beyond is stated in another unit, as gauss, and is not used."""
_KEY: Final = secrets.token_bytes(16)
"""Of the digests of this process: without it, names could be found by trial."""

Identities = Mapping[str, frozenset[bytes]]
"""Statements that identify a study, as :func:`identity` makes them, by its names. Images of one study may
state several accession numbers."""


class StudyKey(NamedTuple):
    """Statements of a header on its study, as digests; each is empty where the header does not state it.

    Attributes:
        study: study UID.
        frame: UID of the frame of reference: positions can be compared within one alone.
        patient: patientID.
        name: patientName.
    """

    study: bytes
    frame: bytes
    patient: bytes
    name: bytes = b""

    def fits(self, other: StudyKey) -> bool:
        """Return whether both may be of one study: one study UID, or without any one frame of reference.

        Of one study UID, frame of reference and patientID must agree where both headers state them, and
        patientName where not both state a patientID.
        """
        if self.study != other.study or not (self.study or self.frame == other.frame != b""):
            return False
        frames = not self.frame or not other.frame or self.frame == other.frame
        return frames and not self.of_another_patient(other)

    def of_another_patient(self, other: StudyKey) -> bool:
        """Return whether both state a patientID, else a patientName, and not the same one."""
        numbers, names = (self.patient, other.patient), (self.name, other.name)
        one, another = names if b"" in numbers else numbers
        return b"" not in (one, another) and one != another


def shared_studies(keys: Iterable[StudyKey]) -> set[bytes]:
    """Return the study UIDs, as digests, that several patients state."""
    by_study = dict[bytes, set[StudyKey]]()
    for each in keys:
        if each.study:
            by_study.setdefault(each.study, set()).add(each._replace(frame=b""))
    return {
        study
        for study, members in by_study.items()
        if any(one.of_another_patient(other) for one, other in combinations(members, 2))
    }


class ReconSpace(NamedTuple):
    """Reconstructed space of an encoding: pixels and field of view, mm, along x and y."""

    columns: int
    rows: int
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class MeasurementHeader:
    """Content of the header; anything may be missing.

    Attributes:
        protocol_name: name of the protocol, or empty.
        series_description: description of the series, or empty.
        field_strength: tesla, or 0 where not stated.
        system: vendor and model of the scanner, or empty.
        study_date: ``studyInformation/studyDate``, or empty.
        study_time: ``studyInformation/studyTime``, or empty.
        inversion_times: ``sequenceParameters/TI``, as text, in their order.
        echo_times: ``sequenceParameters/TE``, likewise.
        maxima: largest value of each counter of :data:`COUNTERS` that the limits of any encoding state.
        minima: smallest value in these limits, those of one value left out; 0 where it is not stated.
        recon_spaces: different ``reconSpace`` of the encodings that state matrix and field of view.
        parameters: user parameters (long, double and string) by name, as text.
        study_uid: ``studyInformation/studyInstanceUID``, or empty.
        frame_of_reference_uid: ``measurementInformation/frameOfReferenceUID``, or empty.
        sex: ``subjectInformation/patientGender``, M or F, or empty.
        patient: digest of all texts of ``subjectInformation`` and ``studyInformation``, also of those not
            read; empty where none states anything. Headers of two patients may differ in nothing else.
        patient_id: digest of ``subjectInformation/patientID``; empty where that states none.
        patient_name: digest of ``subjectInformation/patientName``; likewise.
        accession_number: digest of ``studyInformation/accessionNumber``; likewise.
        content: digest of all texts; likewise.
    """

    protocol_name: str = ""
    series_description: str = ""
    field_strength: float = 0.0
    system: str = ""
    study_date: str = ""
    study_time: str = ""
    inversion_times: tuple[str, ...] = ()
    echo_times: tuple[str, ...] = ()
    maxima: dict[str, int] = field(default_factory=dict)
    minima: dict[str, int] = field(default_factory=dict)
    recon_spaces: tuple[ReconSpace, ...] = ()
    parameters: dict[str, str] = field(default_factory=dict)
    study_uid: str = ""
    frame_of_reference_uid: str = ""
    sex: str = ""
    patient: bytes = field(default=b"", compare=False, repr=False)
    patient_id: bytes = field(default=b"", compare=False, repr=False)
    patient_name: bytes = field(default=b"", compare=False, repr=False)
    accession_number: bytes = field(default=b"", compare=False, repr=False)
    content: bytes = field(default=b"", compare=False, repr=False)

    def first(self, counter: str) -> int:
        """Return the number that a counter begins at."""
        return self.minima.get(counter, 0)

    def values(self, counter: str) -> int:
        """Return the number of values of a counter by its limits; 0 where they are not stated."""
        return self.maxima.get(counter, self.first(counter) - 1) - self.first(counter) + 1

    @property
    def uids(self) -> tuple[str, str]:
        """UIDs of study and frame of reference, each empty where it is not stated."""
        stated = (self.study_uid, self.frame_of_reference_uid)
        study, frame = (uid if _UID.fullmatch(uid) else "" for uid in stated)
        return study, frame

    @property
    def study_key(self) -> StudyKey:
        """Statements on the study."""
        study, frame = (digest([uid]) if uid else b"" for uid in self.uids)
        return StudyKey(study, frame, self.patient_id, self.patient_name)

    @property
    def identities(self) -> Identities:
        """Statements that identify the study."""
        stated = {
            "study_uid": identity("study_uid", self.study_uid),
            "accession_number": self.accession_number,
            "patient_id": self.patient_id,
            "study_date": identity("study_date", self.study_date),
        }
        return {name: frozenset({value}) for name, value in stated.items() if value}


def merged(*of_parts: Identities) -> Identities:
    """Return the statements of all parts of a study."""
    names = dict.fromkeys(name for each in of_parts for name in each)
    return {name: frozenset().union(*(each.get(name, ()) for each in of_parts)) for name in names}


def identifier(text: str) -> str:
    """Return a number or name of a patient in one form; empty where it is that of anonymised ones.

    Senders separate the parts of a name by ``^``, commas or spaces, and some write it in capitals, with
    accents as characters of their own, or once more in another script, after ``=``.
    """
    alphabetic, _, _ = unicodedata.normalize("NFKC", text).strip("=").partition("=")
    stated = re.sub(r"[\s^,]++", " ", alphabetic).strip().casefold()
    return "" if _PLACEHOLDER.fullmatch(stated) else stated


def identity(name: str, text: str) -> bytes:
    """Return the digest of a text that identifies a study; empty where it identifies none.

    Args:
        name: ``study_uid``, ``accession_number``, ``patient_id``, ``study_date``, or ``examination``: the
            name of an examination in a cohort.
        text: as a header or a list states it.
    """
    if name == "study_uid":
        stated = text if _UID.fullmatch(text) else ""
    elif name == "study_date":
        stated = "".join(parts.group(1, 3, 4)) if (parts := _DAY.fullmatch(text)) else ""
    else:
        stated = text if name == "examination" or identifier(text) else ""
    return digest([stated]) if stated else b""


def digest(texts: Iterable[str]) -> bytes:
    """Return a keyed digest of texts: equal for the same ones, in this process alone."""
    made = hashlib.blake2b(key=_KEY, digest_size=16)
    for text in texts:
        made.update(text.encode("utf-8", "replace") + b"\0")
    return made.digest()


def tesla(stated: float | None) -> float:
    """Return a field strength that is stated in tesla; 0 where it is none of a scanner."""
    lowest, highest = _FIELDS_T
    return float(stated) if stated is not None and lowest <= stated <= highest else 0.0


def _parts(element: Element) -> Iterator[str]:
    """Yield texts that state all of an element, whatever its white space."""
    for each in element.iter():
        yield from (each.tag, str(len(each)), (each.text or "").strip())


def _patient(root: Element) -> bytes:
    """Return :attr:`MeasurementHeader.patient`; identifiers of anonymised patients state nothing."""
    elements = [each for name in ("subjectInformation", "studyInformation") for each in root.findall(name)]
    stated = ((element.findtext(name) or "").strip() for element in elements for name in _IDENTIFIERS)
    if not any(text and not _PLACEHOLDER.fullmatch(text) for text in stated):
        return b""
    return digest(part for element in elements for part in _parts(element))


def _limits(element: Element) -> tuple[int, int]:
    """Return the smallest and largest value of a counter; the largest is -1 where it is none."""
    first, last = (number((element.findtext(name) or "").strip(), 1e9) for name in ("minimum", "maximum"))
    largest = -1 if last is None or last < 0 else int(last)
    return (int(first) if first is not None and 0 <= first <= largest else 0), largest


def _range(limits: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the smallest and largest value of a counter over all encodings.

    Each inversion or slice may have an encoding of its own, and so may a reference scan, which has one value.
    """
    largest = max(last for _, last in limits)
    several = [first for first, last in limits if last > first]
    single = {first for first, _ in limits}
    if not several and len(single) <= largest - min(single):
        return largest, largest
    return min(several or single), largest


def _recon_space(element: Element) -> ReconSpace | None:
    """Return a reconstructed space; None where a number of it is none above 0."""
    paths = (f"{name}/{axis}" for name in ("matrixSize", "fieldOfView_mm") for axis in "xy")
    stated = [number((element.findtext(path) or "").strip(), 1e5) or 0.0 for path in paths]
    if min(stated) <= 0.0:
        return None
    columns, rows, width, height = stated
    return ReconSpace(int(columns), int(rows), width, height)


def parse_header(xml: str) -> MeasurementHeader:
    """Read a header, of any namespace or none, however incomplete.

    Raises:
        ProtocolError: it is not XML, declares a document type or entities, or is too large
            (:func:`inline.mrd.text.parse_xml`).
    """
    root = parse_xml(xml, "the MRD header")

    def text(path: str) -> str:
        return (root.findtext(path) or "").strip()[:_LONGEST]

    def texts(path: str) -> tuple[str, ...]:
        return tuple((element.text or "").strip() for element in root.findall(path))

    maxima, minima = {}, {}
    for counter in COUNTERS:
        limits = map(_limits, root.findall(f"encoding/encodingLimits/{counter}"))
        if usable := [each for each in limits if each[1] >= each[0]]:
            minima[counter], maxima[counter] = _range(usable)
    spaces = map(_recon_space, root.findall("encoding/reconSpace"))
    parameters = {}
    for kind in ("Long", "Double", "String"):
        for element in root.findall(f"userParameters/userParameter{kind}"):
            parameters[(element.findtext("name") or "").strip()] = (element.findtext("value") or "").strip()
    patient_id, name = (text(f"subjectInformation/{each}") for each in ("patientID", "patientName"))
    return MeasurementHeader(
        protocol_name=text("measurementInformation/protocolName"),
        series_description=text("measurementInformation/seriesDescription"),
        field_strength=tesla(number(text("acquisitionSystemInformation/systemFieldStrength_T"), 1e9)),
        system=" ".join(
            filter(None, (text(f"acquisitionSystemInformation/system{name}") for name in ("Vendor", "Model")))
        ),
        study_date=text("studyInformation/studyDate"),
        study_time=text("studyInformation/studyTime"),
        inversion_times=texts("sequenceParameters/TI"),
        echo_times=texts("sequenceParameters/TE"),
        maxima=maxima,
        minima={counter: first for counter, first in minima.items() if first},
        recon_spaces=tuple(dict.fromkeys(filter(None, spaces)))[:_MOST_SPACES],
        parameters=parameters,
        study_uid=text("studyInformation/studyInstanceUID"),
        frame_of_reference_uid=text("measurementInformation/frameOfReferenceUID"),
        patient=_patient(root),
        patient_id=identity("patient_id", patient_id),
        patient_name=digest([identifier(name)]) if identifier(name) else b"",
        accession_number=identity("accession_number", text("studyInformation/accessionNumber")),
        content=digest(_parts(root)),
        sex=gender if (gender := text("subjectInformation/patientGender").upper()) in ("M", "F") else "",
    )
