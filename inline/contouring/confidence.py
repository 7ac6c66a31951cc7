"""How far a slice's contours can be trusted: the Dice coefficient that is to be expected of them, 0 to 1.

Signals are read off the network's one answer, the picture that it saw and the contours; a second inference
would double the cost of a slice. What they mean together was fitted on synthetic slices, sound and spoilt
(:mod:`calibration.confidence`), and lies beside the weights that it was fitted for.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from inline.contouring.contours import rasterise
from inline.data.results import Contours
from inline.settings import Settings
from model.frame import Frame
from model.polygons import area, perimeter
from model.weights import DEFAULT, weights_digest

FloatArray = NDArray[np.float64]

FILE: Final = "confidence.json"
FORMAT: Final = 1
SIGNALS: Final = (
    "soft_dice_cavity",
    "soft_dice_wall",
    "hard_dice_cavity",
    "hard_dice_wall",
    "certain_cavity",
    "certain_wall",
    "entropy",
    "margin",
    "outside",
    "ring",
    "thinnest",
    "thickness_spread",
    "round_endo",
    "round_epi",
    "size",
    "cavity_share",
    "off_centre",
    "contrast",
    "wall_spread",
    "grain",
    "dark",
)
"""Names of the signals, in the order of :func:`signals`."""
_AROUND: Final = 10
"""Pixels of the frame (1.5 mm) around the heart that are looked at."""
_USUAL_AREA: Final = 1000.0
"""Inside the epicardial contour of a usual mid-ventricular slice, pixels of the frame."""
_ANGLES: Final = 72
FURTHEST: Final = 3.0
"""Standard deviations from the mean within which a signal counts in full."""
_NO_CALIBRATION: Final = "none (not calibrated)"


def signals(
    probabilities: NDArray[np.float32], picture: NDArray[np.float32], contours: Contours
) -> FloatArray:
    """What a slice shows of its own quality, ``(len(SIGNALS),)``, all finite.

    Args:
        probabilities: background, LV cavity and myocardium, ``(3, rows, columns)``.
        picture: what the network was shown, ``(rows, columns)``.
        contours: in pixels of the probabilities.
    """
    (top, left), (bottom, right) = _window(contours, picture.shape)
    p = probabilities[:, top:bottom, left:right].astype(np.float64)
    seen = picture[top:bottom, left:right]
    corner = np.array([left, top], dtype=np.float64)
    here = Contours(endo=contours.endo - corner, epi=contours.epi - corner)
    labels = rasterise(here, (bottom - top, right - left))
    cavity, wall = labels == 1, labels == 2
    heart = cavity | wall
    winner = p.argmax(axis=0)
    everything = float(probabilities[1:].sum())
    around = cv2.dilate(heart.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    border = _border(labels)
    shares = np.sort(p, axis=0)
    entropy = -(p * np.log(np.maximum(p, 1e-9))).sum(axis=0) / math.log(3.0)
    thickness, ring = _ring(p[2], here)
    contrast, spread, grain, dark = _seen(seen, float(picture.min()), cavity, wall)
    return np.array(
        [
            _logit(_overlap(p[1], cavity)),
            _logit(_overlap(p[2], wall)),
            _logit(_overlap((winner == 1).astype(float), cavity)),
            _logit(_overlap((winner == 2).astype(float), wall)),
            _mean(p[1], cavity),
            _mean(p[2], wall),
            _mean(entropy, around),
            _mean(shares[2] - shares[1], border),
            1.0 - min(float(p[1:, around].sum()) / max(everything, 1e-9), 1.0),
            ring,
            float(np.percentile(thickness, 5.0)) / max(float(thickness.mean()), 1e-9),
            float(thickness.std()) / max(float(thickness.mean()), 1e-9),
            _roundness(contours.endo),
            _roundness(contours.epi),
            abs(math.log(max(area(contours.epi), 1.0) / _USUAL_AREA)),
            abs(area(contours.endo) / max(area(contours.epi), 1.0) - 0.5),
            float(np.linalg.norm(contours.endo.mean(axis=0) - contours.epi.mean(axis=0)))
            / math.sqrt(max(area(contours.epi), 1.0) / math.pi),
            contrast,
            spread,
            grain,
            dark,
        ],
        dtype=np.float64,
    )


def in_frame(contours: Contours | None, frame: Frame) -> Contours | None:
    """Contours in pixels of an image as the network's frame has them."""
    if contours is None:
        return None
    return Contours(endo=frame.to_frame_points(contours.endo), epi=frame.to_frame_points(contours.epi))


def _window(contours: Contours, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns around both contours, first and one past the last; never empty."""
    points = np.vstack([contours.endo, contours.epi])[:, ::-1]
    size = np.array(shape)
    low = np.clip(np.floor(points.min(axis=0)) - _AROUND, 0, size - 1).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)) + _AROUND + 1, low + 1, size).astype(int)
    return (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))


def _overlap(share: FloatArray, mask: NDArray[np.bool_]) -> float:
    """Dice coefficient of a mask with the share, 0 to 1, of each pixel that belongs to it."""
    return 2.0 * float(share[mask].sum()) / max(float(share.sum()) + float(mask.sum()), 1e-9)


def _mean(values: FloatArray, mask: NDArray[np.bool_]) -> float:
    return float(values[mask].mean()) if mask.any() else 0.0


def _logit(share: float) -> float:
    bounded = min(max(share, 0.01), 0.99)
    return math.log(bounded / (1.0 - bounded))


def _border(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels beside one of another label."""
    kernel = np.ones((3, 3), np.uint8)
    border: NDArray[np.bool_] = cv2.dilate(labels, kernel) != cv2.erode(labels, kernel)
    return border


def _roundness(outline: FloatArray) -> float:
    """1 for a circle, less for anything else."""
    return 4.0 * math.pi * area(outline) / max(perimeter(outline) ** 2, 1e-9)


def _ring(wall: FloatArray, contours: Contours) -> tuple[FloatArray, float]:
    """Thickness of the wall by angle, pixels, and the share of angles at which its middle is seen as wall.

    Angles are those around the middle of the cavity; of an outline that a ray crosses more than once, the
    point whose angle is next counts.
    """
    centre = contours.endo.mean(axis=0)
    angles = np.linspace(-math.pi, math.pi, _ANGLES, endpoint=False)
    inner, outer = (_radius(outline - centre, angles) for outline in (contours.endo, contours.epi))
    middle = (inner + outer) / 2.0
    x = np.clip(np.round(centre[0] + middle * np.cos(angles)).astype(int), 0, wall.shape[1] - 1)
    y = np.clip(np.round(centre[1] + middle * np.sin(angles)).astype(int), 0, wall.shape[0] - 1)
    return np.maximum(outer - inner, 0.0), float((wall[y, x] > 0.5).mean())


def _radius(offset: FloatArray, angles: FloatArray) -> FloatArray:
    at = np.arctan2(offset[:, 1], offset[:, 0])
    order = np.argsort(at)
    radius: FloatArray = np.interp(angles, at[order], np.hypot(*offset.T)[order], period=2.0 * math.pi)
    return radius


def _seen(
    picture: NDArray[np.float32], lowest: float, cavity: NDArray[np.bool_], wall: NDArray[np.bool_]
) -> tuple[float, float, float, float]:
    """Contrast of cavity and wall in units of their spread (to 1), spread of the wall, grain, dark share.

    Pixels whose fit says nothing are shown as the lowest grey: their share is what the residuals of the fit
    say here, for maps of scanners as for our own.
    """
    if not cavity.any() or not wall.any():
        return 0.0, 0.0, 0.0, 1.0
    inside, muscle = picture[cavity].astype(float), picture[wall].astype(float)
    (q1, middle, q3), (w1, wall_middle, w3) = (np.percentile(each, [25, 50, 75]) for each in (inside, muscle))
    apart = abs(float(middle - wall_middle))
    spread = float(w3 - w1)
    heart = cavity | wall
    fine = np.abs(picture - cv2.medianBlur(np.ascontiguousarray(picture), 3))[heart]
    return (
        apart / max(apart + 0.5 * (float(q3 - q1) + spread), 1e-9),
        spread,
        float(fine.mean()),
        float((picture[heart] <= lowest).mean()),
    )


@dataclass(frozen=True, slots=True)
class Calibration:
    """From signals to the expected Dice: a weighted sum, then a monotone curve through knots.

    Attributes:
        weights: SHA-256 of the weights that it was fitted for
            (:func:`model.weights.weights_digest`).
        centre: of each signal.
        scale: of each signal, above 0.
        factors: of each signal after ``(signal - centre) / scale``, which counts up to :data:`FURTHEST`.
        offset: added to the sum.
        scores: of the knots, increasing.
        dice: of the knots, never decreasing, 0 to 1.
    """

    weights: str
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    factors: tuple[float, ...]
    offset: float
    scores: tuple[float, ...]
    dice: tuple[float, ...]

    def score(self, found: FloatArray) -> FloatArray:
        """The weighted sum for signals ``(..., len(SIGNALS))``; one less dimension."""
        relative = (found - np.array(self.centre)) / np.array(self.scale)
        # A signal far from all that was calibrated with says no more than one at the edge of it.
        summed: FloatArray = np.clip(relative, -FURTHEST, FURTHEST) @ np.array(self.factors)
        return summed + self.offset

    def expected_dice(self, found: FloatArray) -> FloatArray:
        """The Dice coefficient that is to be expected, 0 to 1, as :meth:`score`."""
        return np.interp(self.score(found), self.scores, self.dice)

    def to_json(self, **more: Any) -> str:
        """As the file holds it; ``more`` is kept beside it for people to read."""
        content = {"format": FORMAT, "signals": SIGNALS}
        fitted = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({**content, **fitted, **more}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What :meth:`to_json` wrote.

        Raises:
            ValueError: it is no calibration of these signals.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            if content["format"] != FORMAT or tuple(content["signals"]) != SIGNALS:
                raise ValueError("it is one of other signals; calibrate again")
            numbers = {
                name: tuple(float(value) for value in content[name])
                for name in ("centre", "scale", "factors", "scores", "dice")
            }
            made = cls(weights=str(content["weights"]), offset=float(content["offset"]), **numbers)
        except (TypeError, KeyError) as error:
            raise ValueError(f"it is no calibration: {type(error).__name__} {error}") from error
        made._check()
        return made

    def _check(self) -> None:
        each = (self.centre, self.scale, self.factors)
        everything = np.concatenate([*each, self.scores, self.dice, [self.offset]])
        if any(len(values) != len(SIGNALS) for values in each) or len(self.scores) != len(self.dice):
            raise ValueError("its lists have the wrong length")
        if not self.scores or not np.isfinite(everything).all() or min(self.scale) <= 0.0:
            raise ValueError("its numbers cannot be used")
        rising = all(a < b for a, b in zip(self.scores, self.scores[1:], strict=False))
        never_falling = list(self.dice) == sorted(self.dice)
        if not rising or not never_falling or self.dice[0] < 0.0 or self.dice[-1] > 1.0:
            raise ValueError("its curve does not rise from 0 to 1 at most")


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Judges slices, or says why it does not.

    Attributes:
        calibration: None where there is none for the weights in use.
        source: where the confidence comes from, or why there is none.
        review_below: a slice of less confidence should be looked at by a person.
    """

    calibration: Calibration | None = None
    source: str = _NO_CALIBRATION
    review_below: float = 0.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The reviewer for the weights in use; it judges nothing where none was calibrated for them."""
        folder = settings.weights or DEFAULT
        calibration, source = load_calibration(folder)
        return cls(calibration, source, settings.review_below)

    def confidence(
        self,
        probabilities: NDArray[np.float32],
        picture: NDArray[np.float32],
        contours: Contours | None,
    ) -> float | None:
        """The Dice that is to be expected: 0 without contours or numbers, None without a calibration.

        Arguments as those of :func:`signals`.
        """
        if self.calibration is None:
            return None
        if contours is None:
            return 0.0
        expected = float(self.calibration.expected_dice(signals(probabilities, picture, contours)))
        return expected if math.isfinite(expected) else 0.0


def load_calibration(folder: Path) -> tuple[Calibration | None, str]:
    """The calibration in a folder of weights if it was made for them, and what to say about it."""
    try:
        made = Calibration.from_json((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, _NO_CALIBRATION
    except (OSError, ValueError) as error:
        return None, f"none (the calibration cannot be used: {error})"
    if made.weights != weights_digest(folder):
        return None, "none (calibrated for other weights)"
    return made, f"calibrated for weights {made.weights[:12]}"
