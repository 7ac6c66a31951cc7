"""Partition coefficient, extracellular volume fraction (ECV) and synthetic haematocrit from T1.

With R1 = 1/T1 and dR1 = R1 post-contrast - R1 native, the partition coefficient of the contrast agent is

    lambda = dR1 of the myocardium / dR1 of the blood,

and ECV = (1 - haematocrit) lambda (Arheden et al. 1999, Radiology 211:698; Flett et al. 2010, Circulation
122:138). Standard deviations follow by the delta method to first order (Kellman et al. 2013, J Cardiovasc
Magn Reson 15:56).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

HAEMATOCRIT: Final = (0.2, 0.65)
"""Smallest and largest haematocrit: from severe anaemia to severe polycythaemia. Other numbers are typing
errors or percentages."""


@dataclass(frozen=True, slots=True)
class SyntheticFormula:
    """Haematocrit from the T1 of native blood, ``slope_ms / T1 - offset``.

    Attributes:
        field_strength: of the magnet that it was derived at, tesla.
        slope_ms: ms.
        offset: a haematocrit.
        source: publication.
    """

    field_strength: float
    slope_ms: float
    offset: float
    source: str


SYNTHETIC: Final = (
    SyntheticFormula(1.5, 866.0, 0.1232, "Treibel et al. 2016, JACC Cardiovasc Imaging 9:54, 1.5 T, MOLLI"),
    SyntheticFormula(3.0, 1355.52, 0.310, "Reiter et al. 2024, Eur J Radiol 178:111659, 3 T, MOLLI 5(3)3"),
)
"""One formula for each field strength: that for 1.5 T gave 0.05 too little at 3 T."""
SAME_FIELD: Final = 0.15
"""Largest distance of two field strengths that count as one, tesla: magnets of 2.894 T are sold as 3 T."""


@dataclass(frozen=True, slots=True)
class BloodChange:
    """T1 of blood before and after contrast agent, ms, with standard errors.

    Attributes:
        native_ms: T1 of native blood.
        post_ms: T1 of post-contrast blood, shorter than ``native_ms``.
        native_error_ms: standard error of ``native_ms``.
        post_error_ms: standard error of ``post_ms``.
    """

    native_ms: float
    post_ms: float
    native_error_ms: float = 0.0
    post_error_ms: float = 0.0

    @property
    def rate(self) -> float:
        """Change of R1, 1/ms; above 0."""
        return 1.0 / self.post_ms - 1.0 / self.native_ms

    @property
    def relative_error(self) -> float:
        """Standard error of ``rate``, as a share of it."""
        errors = np.array([self.native_error_ms / self.native_ms**2, self.post_error_ms / self.post_ms**2])
        return float(np.linalg.norm(errors)) / self.rate


def check_haematocrit(value: float) -> float:
    """Return a haematocrit that lies within :data:`HAEMATOCRIT`.

    Raises:
        ValueError: it is no fraction between the limits; the message says what to give.
    """
    low, high = HAEMATOCRIT
    if low <= value <= high:
        return value
    percent = low <= value / 100.0 <= high
    hint = f"give {value / 100.0:g} for {value:g} %" if percent else "give a value such as 0.42"
    raise ValueError(f"the haematocrit is a fraction from {low:g} to {high:g}, not {value:g}; {hint}")


def partition_coefficient(native_ms: ArrayLike, post_ms: ArrayLike, blood: BloodChange) -> FloatArray:
    """Return the partition coefficient of T1 values, of their shape; 0 where a T1 is not above 0.

    Args:
        native_ms: native T1, ms.
        post_ms: post-contrast T1 of the same places, ms, of the same shape.
        blood: of the same examination.

    Raises:
        ValueError: T1 of the blood does not become shorter.
    """
    if not 0.0 < blood.post_ms < blood.native_ms:
        raise ValueError(
            f"blood T1 does not become shorter: {blood.native_ms:g} ms native, {blood.post_ms:g} ms after it"
        )
    native, post = np.asarray(native_ms, dtype=np.float64), np.asarray(post_ms, dtype=np.float64)
    measured = (native > 0.0) & (post > 0.0)
    change: FloatArray = np.where(
        measured, 1.0 / np.where(measured, post, 1.0) - 1.0 / np.where(measured, native, 1.0), 0.0
    )
    return change / blood.rate


def tissue_sd(
    native_ms: ArrayLike,
    post_ms: ArrayLike,
    native_sd_ms: ArrayLike,
    post_sd_ms: ArrayLike,
    blood: BloodChange,
) -> FloatArray:
    """Return the SD of the partition coefficient that the tissue's own T1 values cause.

    These errors are independent from pixel to pixel; that of the blood, common to all pixels, is
    ``blood.relative_error`` times the partition coefficient. :func:`total_sd` adds both.

    Args:
        native_ms: native T1, ms; above 0, likewise ``post_ms``.
        post_ms: post-contrast T1, ms.
        native_sd_ms: SD of ``native_ms``.
        post_sd_ms: SD of ``post_ms``.
        blood: of the same examination.
    """
    native = np.asarray(native_sd_ms, dtype=np.float64) / np.asarray(native_ms, dtype=np.float64) ** 2
    post = np.asarray(post_sd_ms, dtype=np.float64) / np.asarray(post_ms, dtype=np.float64) ** 2
    sd: FloatArray = np.hypot(native, post) / blood.rate
    return sd


def total_sd(partition: ArrayLike, tissue: ArrayLike, blood: BloodChange) -> FloatArray:
    """Return the SD of partition coefficients from that of the tissue and the error of the blood."""
    sd: FloatArray = np.hypot(tissue, np.asarray(partition, dtype=np.float64) * blood.relative_error)
    return sd


def synthetic_haematocrit(blood_ms: float, field_strength: float | None) -> tuple[float | None, str]:
    """Return the haematocrit by native blood T1 and the source of the formula, or None and the reason.

    Args:
        blood_ms: T1 of native blood, ms.
        field_strength: of the magnet, tesla; None where it is not known.
    """
    if field_strength is None:
        return None, "the header states no field strength of 0.1 to 20 T"
    found = [each for each in SYNTHETIC if abs(each.field_strength - field_strength) <= SAME_FIELD]
    if not found:
        return None, f"there is no formula for {field_strength:g} T"
    value = found[0].slope_ms / blood_ms - found[0].offset
    low, high = HAEMATOCRIT
    if not low <= value <= high:
        return (
            None,
            f"native blood T1 of {blood_ms:.0f} ms would give {value:.2f}, outside {low:g} to {high:g}",
        )
    return value, found[0].source
