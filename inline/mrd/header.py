"""Parts of the XML header that mapping needs."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final
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
_KEY: Final = secrets.token_bytes(16)
"""Of the digests of this process: without it, names could be found by trial."""


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
        parameters: user parameters (long, double and string) by name, as text.
        study_uid: ``studyInformation/studyInstanceUID``, or empty.
        frame_of_reference_uid: ``measurementInformation/frameOfReferenceUID``, or empty.
        sex: ``subjectInformation/patientGender``, M or F, or empty.
        patient: digest of all texts of ``subjectInformation`` and ``studyInformation``, also of those not
            read; empty where none states anything. Headers of two patients may differ in nothing else.
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
    parameters: dict[str, str] = field(default_factory=dict)
    study_uid: str = ""
    frame_of_reference_uid: str = ""
    sex: str = ""
    patient: bytes = field(default=b"", compare=False, repr=False)
    content: bytes = field(default=b"", compare=False, repr=False)

    @property
    def uids(self) -> tuple[str, str]:
        """UIDs of study and frame of reference, each empty where it is not stated.

        Together they identify a study: positions can be compared within one frame of reference alone.
        """
        stated = (self.study_uid, self.frame_of_reference_uid)
        study, frame = (uid if _UID.fullmatch(uid) else "" for uid in stated)
        return study, frame


def digest(texts: Iterable[str]) -> bytes:
    """Return a keyed digest of texts: equal for the same ones, in this process alone."""
    made = hashlib.blake2b(key=_KEY, digest_size=16)
    for text in texts:
        made.update(text.encode("utf-8", "replace") + b"\0")
    return made.digest()


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

    maxima = {}
    for counter in COUNTERS:
        # A reference scan may have an encoding of its own, before that of the images.
        stated = [number(each, 1e9) for each in texts(f"encoding/encodingLimits/{counter}/maximum")]
        if usable := [int(value) for value in stated if value is not None and value >= 0]:
            maxima[counter] = max(usable)
    parameters = {}
    for kind in ("Long", "Double", "String"):
        for element in root.findall(f"userParameters/userParameter{kind}"):
            parameters[(element.findtext("name") or "").strip()] = (element.findtext("value") or "").strip()
    return MeasurementHeader(
        protocol_name=text("measurementInformation/protocolName"),
        series_description=text("measurementInformation/seriesDescription"),
        field_strength=number(text("acquisitionSystemInformation/systemFieldStrength_T"), 1e9) or 0.0,
        system=" ".join(
            filter(None, (text(f"acquisitionSystemInformation/system{name}") for name in ("Vendor", "Model")))
        ),
        study_date=text("studyInformation/studyDate"),
        study_time=text("studyInformation/studyTime"),
        inversion_times=texts("sequenceParameters/TI"),
        echo_times=texts("sequenceParameters/TE"),
        maxima=maxima,
        parameters=parameters,
        study_uid=text("studyInformation/studyInstanceUID"),
        frame_of_reference_uid=text("measurementInformation/frameOfReferenceUID"),
        patient=_patient(root),
        content=digest(_parts(root)),
        sex=gender if (gender := text("subjectInformation/patientGender").upper()) in ("M", "F") else "",
    )
