"""Coded concepts of the outputs (PS3.16): quantities, anatomy, statistics.

Codes of the standard are used where it has them. The few others are of the private scheme ``99MYOSTREAM``,
which every document that uses it identifies.
"""

from __future__ import annotations

from typing import Final

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from inline.contouring.aha_segments import segment_number
from inline.data.series import Quantity

_SCHEME: Final = "99MYOSTREAM"

UNITS: Final = {"ms": Code("ms", "UCUM", "millisecond"), "%": Code("%", "UCUM", "percent")}
QUANTITIES: Final = {Quantity.T1: codes.DCM.T1, Quantity.T2: codes.DCM.T2}
STATISTICS: Final = {
    "median": codes.SCT.Median,
    "mean": codes.SCT.Mean,
    "sd": codes.SCT.StandardDeviation,
    "q1": Code("first-quartile", _SCHEME, "First quartile"),
    "q3": Code("third-quartile", _SCHEME, "Third quartile"),
}
"""Modifier of a measurement by the name of its field in the record of a region."""
PIXELS: Final = Code("pixels", _SCHEME, "Number of pixels in region")
PIXEL_UNIT: Final = Code("{pixels}", "UCUM", "pixels")
CONFIDENCE: Final = Code("expected-dice", _SCHEME, "Expected Dice coefficient of the contours")
NO_UNIT: Final = Code("1", "UCUM", "no units")
FLAG: Final = Code("quality-flag", _SCHEME, "Quality flag")
LEVEL: Final = Code("slice-level", _SCHEME, "Level of the short-axis slice")
ENHANCEMENT: Final = Code("contrast-state", _SCHEME, "Native or post-contrast, and the source of that")
REFERENCE: Final = Code("reference-range", _SCHEME, "Source of the reference ranges of the z-scores")
ORIGIN: Final = Code("map-origin", _SCHEME, "Origin of the map")
ERROR: Final = Code("processing-error", _SCHEME, "Reason why the slice was not processed")

ECV: Final = Code("ecv", _SCHEME, "Extracellular volume fraction")
"""Not ve (126314, DCM), which is extravascular: ECV counts the plasma within vessels of the tissue too."""
PARTITION: Final = Code("partition-coefficient", _SCHEME, "Partition coefficient of contrast agent")
STANDARD_ERROR: Final = Code("standard-error", _SCHEME, "Standard error of the mean")
HAEMATOCRITS: Final = {
    "given": Code("20570-8", "LN", "Hematocrit"),
    "file": Code("20570-8", "LN", "Hematocrit"),
    "synthetic": Code("synthetic-haematocrit", _SCHEME, "Haematocrit computed from native blood T1"),
}
"""Haematocrit by its source. A computed one has no code of a laboratory."""
HAEMATOCRIT_SOURCE: Final = Code("haematocrit-source", _SCHEME, "Source of the haematocrit")

HEART: Final = codes.SCT.Heart
BODY_SUBSTANCE: Final = codes.SCT.BodySubstance
BLOOD: Final = codes.SCT.Blood
LEFT_VENTRICLE: Final = codes.SCT.LeftVentricle
TISSUE: Final = codes.SCT.Tissue
MYOCARDIUM: Final = Code("49848007", "SCT", "Myocardium of left ventricle")
SEPTUM: Final = Code("589001", "SCT", "Interventricular septum")
CARDIAC_MRI: Final = Code("241620005", "SCT", "Cardiac MRI")

AHA_SEGMENTS: Final[tuple[Code, ...]] = tuple(
    getattr(codes.cid3717, f"LeftVentricle{name}Segment")
    for name in (
        "BasalAnterior",
        "BasalAnteroseptal",
        "BasalInferoseptal",
        "BasalInferior",
        "BasalInferolateral",
        "BasalAnterolateral",
        "MidAnterior",
        "MidAnteroseptal",
        "MidInferoseptal",
        "MidInferior",
        "MidInferolateral",
        "MidAnterolateral",
        "ApicalAnterior",
        "ApicalSeptal",
        "ApicalInferior",
        "ApicalLateral",
    )
)
"""Segments 1 to 16 (CID 3717 Myocardial Wall Segments; Cerqueira et al. 2002)."""


def finding_site(region: str) -> Code:
    """Return the anatomy of a region by its name in a result: a segment, the septum, or the whole wall."""
    number = segment_number(region)
    if number is not None:
        return AHA_SEGMENTS[number - 1]
    return SEPTUM if "septum" in region else MYOCARDIUM


def private_scheme() -> CodingSchemeIdentificationItem:
    """Return the identification of the private coding scheme."""
    return CodingSchemeIdentificationItem(
        designator=_SCHEME, name="myostream", responsible_organization="myostream"
    )
