"""Sentences of the report for flags, and texts of a sender made fit for print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SENTENCES: Final[Mapping[str, str]] = {
    "implausible-values": "Values lie outside what tissue can have.",
    "implausible-blood": "The T1 of the blood is implausible: check which series is post-contrast.",
    "scaled-images": "An image lacks its scale or has another, or is coloured or flat: values may be wrong.",
    "clipped-images": "Pixels of the heart are clipped or wrapped in an image: the values may be wrong.",
    "shmolli": "The images are those of ShMOLLI: native T1 is some 10 % too short.",
    "noisy-images": "The noise or rounding of the images is large: the values may be wrong by some percent.",
    "poor-fit": "The fit describes the images poorly: check them for motion and artefacts.",
    "motion-left": "Motion is left in the images of the map: check its contours and values.",
    "review": "The contours are uncertain: a person should check them.",
    "cut-off": "Image or network input end within the heart: the slice has no segments, values may be wrong.",
    "not-registered": "The post-contrast map could not be moved onto the native one: check the ECV map.",
    "slices-do-not-match": "Native and post-contrast slices may not match: check the ECV, if there is one.",
    "processing-error": "The processing of the slice failed.",
    "saturation-recovery": "The images show saturation recovery, which is not fitted.",
    "no-values": "Hardly any pixel within the contours has a value.",
    "empty-map": "The map has no values.",
    "no-cavity": "No contour: no left-ventricular cavity was found.",
    "no-myocardium": "No contour: no myocardium was found around the cavity.",
    "elongated": "No contour: the shape that was found is too elongated for a short-axis slice.",
    "not-nested": "No contour: the borders that were found cross each other.",
    "too-small": "The heart is very small: its values may be wrong, or there is no contour.",
    "late": "The result missed its time limit.",
    "no-post-contrast": "No ECV: there is no post-contrast T1 map of this position.",
    "no-native": "No ECV: there is no native T1 map of this position.",
    "no-blood": "No ECV: the T1 of the blood could not be measured.",
    "no-haematocrit": "No ECV: no haematocrit was given. The partition coefficient is stated.",
    "synthetic-haematocrit": "The haematocrit is an estimate from native blood T1, not a blood sample.",
    "duplicate-images": (
        "Images, or the first inversion time, came twice: a note states whether both were fitted."
    ),
    "masked-values": "Pixels outside the possible range of ECV were left out.",
    "thin-wall": "The wall is thin: blood or fat may reach the values.",
    "missing-images": "Images of the series are missing: the map, if there is one, is fitted from the rest.",
    "contradictory-geometry": "Headers, or insertion points and directions, contradict each other.",
    "unreadable-times": "Times of some images could not be read, or contradict each other.",
    "converted-unit": "Times or values were converted to milliseconds.",
    "non-finite-pixels": "Some pixels are not numbers; they have no value.",
    "no-orientation": "The image headers state no directions: level and segments may be missing.",
    "unreadable-attributes": "Attributes of the images could not be read, or state two scales of the pixels.",
    "early-close": "The connection ended early; images may be missing.",
    "moved": "The heart moved between the images of the series.",
    "corrected": "The map is of motion-corrected images.",
}
"""One sentence for each flag of :class:`~inline.data.flags.Flag`, those that question the values first."""


def sentence(flag: str) -> str:
    """Return the sentence of a flag; the flag itself where a later version of myostream set it."""
    return SENTENCES.get(flag, f"Flag {flag}.")


def importance(flag: str) -> int:
    """Return the place of a flag among others on the page; unknown ones come first."""
    return list(SENTENCES).index(flag) if flag in SENTENCES else -1


def clean(text: str) -> str:
    """Return a text as one line of printable characters."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
