"""Confidence of one slice: the median Dice coefficient to be expected of its contours, 0 to 1.

The signals are computed from the network output, the contours and the network input. Their weights were
fitted on synthetic slices, intact and degraded (:mod:`calibration.confidence`), and lie beside the weights of
the network.
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
from inline.contouring.explanation import NO_CONTOURS, NOT_FINITE, SignalPart, explain
from inline.data.results import Contours
from inline.settings import Settings
from model.architecture import CLASSES
from model.frame import FRAME_MM, Frame
from model.insertion import locate
from model.polygons import area, distances
from model.soft_dice import soft_dice
from model.weights import DEFAULT, weights_digest

FloatArray = NDArray[np.float64]

FILE: Final = "confidence.json"
FORMAT: Final = 3
SIGNALS: Final = (
    "soft_dice_cavity",
    "soft_dice_myocardium",
    "entropy",
    "cavity_share",
    "off_centre",
    "without_fit",
    "insertion_distance",
    "insertion_heat",
    "border_contrast",
    "diameter",
)
"""Names of the signals, in the order of :func:`signals`."""
_MARGIN: Final = 10
"""Pixels of the frame (1.5 mm) around the contours that are taken into account."""
_FURTHEST: Final = 1.5
"""Largest distance of an insertion point from the contour, radii of the heart; also where there are none."""
_SMOOTH: Final = 1.0
"""Standard deviation of the smoothing before the gradient of the image, pixels of the frame."""
_LEAST_SPREAD: Final = 0.05
"""Least spread of the image within the wall, standard deviations of the network input."""
LARGEST: Final = 3.0
"""Standard deviations from the mean at which a signal is clipped."""
_NO_CALIBRATION: Final = "none (not calibrated)"


def signals(output: NDArray[np.float32], image: NDArray[np.float32], contours: Contours) -> FloatArray:
    """Return the signals of a slice, ``(len(SIGNALS),)``, all finite.

    In this order: Dice coefficient (logit) of the contours with the probability of LV cavity and with that of
    myocardium; mean entropy of the probabilities in and around the heart, 0 to 1; difference of the cavity's
    share of the heart's area from one half; distance of the centres of both contours in radii of the heart;
    share of the heart's pixels without a certain fit; distance of the insertion point of the right ventricle
    that is further from the epicardial contour, in radii of the heart, and mean heat at both points; change
    of the image per pixel just outside the endocardial contour, in units of its spread within the wall;
    logarithm of the heart's diameter in mm.

    Args:
        output: background, LV cavity and myocardium, then the heat of the insertion points where the network
            has it, ``(3 + k, rows, columns)``.
        image: network input, ``(rows, columns)``, lowest where the fit is not certain.
        contours: in pixels of the output.
    """
    points, size = np.vstack([contours.endo, contours.epi])[:, ::-1], np.array(image.shape)
    low = np.clip(np.floor(points.min(axis=0)) - _MARGIN, 0, size - 1).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)) + _MARGIN + 1, low + 1, size).astype(int)
    window = np.s_[low[0] : high[0], low[1] : high[1]]
    p = output[:CLASSES, *window].astype(np.float64)
    corner = low[::-1].astype(np.float64)
    inside = Contours(endo=contours.endo - corner, epi=contours.epi - corner)
    labels = rasterise(inside, (int(high[0] - low[0]), int(high[1] - low[1])))
    heart = labels > 0
    around = cv2.dilate(heart.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    entropy = class_entropy(p)
    heart_area = max(area(contours.epi), 1.0)
    radius = math.sqrt(heart_area / math.pi)
    offset = float(np.linalg.norm(contours.endo.mean(axis=0) - contours.epi.mean(axis=0)))
    return np.array(
        [
            _logit(soft_dice(p[1], labels == 1)),
            _logit(soft_dice(p[2], labels == 2)),
            entropy[around].mean() if around.any() else 0.0,
            abs(area(contours.endo) / heart_area - 0.5),
            offset / radius,
            (image[window][heart] <= image.min()).mean() if heart.any() else 1.0,
            *_insertions(output[CLASSES:], contours.epi, radius),
            _border_contrast(image[window], labels),
            math.log(2.0 * radius * FRAME_MM),
        ],
        dtype=np.float64,
    )


def _insertions(heat: NDArray[np.float32], epi: FloatArray, radius: float) -> tuple[float, float]:
    """Return the larger distance of the insertion points from a contour in radii, and their mean heat."""
    if not len(heat):
        return _FURTHEST, 0.0
    points, peaks = locate(heat)
    return min(float(distances(points, epi).max()) / radius, _FURTHEST), float(peaks.mean())


def _border_contrast(image: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
    """Return the mean gradient just outside the cavity over the spread of the wall; 0 without either."""
    cavity, wall = labels == 1, image[labels == 2]
    beside = (cv2.dilate(cavity.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~cavity
    if not (beside.any() and wall.size and min(image.shape) > 1):
        return 0.0
    down, across = np.gradient(cv2.GaussianBlur(image, (0, 0), _SMOOTH))
    low, high = np.percentile(wall, (16.0, 84.0))
    spread = max(float(high - low) / 2.0, _LEAST_SPREAD)
    return float(np.hypot(down, across)[beside].mean()) / spread


def class_entropy(probabilities: NDArray[np.floating]) -> FloatArray:
    """Return the entropy of class probabilities ``(3, rows, columns)``: 0 certain, 1 three equal ones."""
    p = probabilities.astype(np.float64)
    entropy: FloatArray = -(p * np.log(np.maximum(p, 1e-9))).sum(axis=0) / math.log(3.0)
    return entropy


def in_frame(contours: Contours | None, frame: Frame) -> Contours | None:
    """Return contours in pixels of an image in pixels of the network's frame."""
    if contours is None:
        return None
    return Contours(endo=frame.to_frame_points(contours.endo), epi=frame.to_frame_points(contours.epi))


def _logit(dice: float) -> float:
    """Return the logit of a Dice coefficient, bounded to 0.01 and 0.99."""
    bounded = min(max(dice, 0.01), 0.99)
    return math.log(bounded / (1.0 - bounded))


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected Dice of signals: a weighted sum, then a monotone curve through knots.

    Attributes:
        weights: SHA-256 of the weights that it was fitted for (:func:`model.weights.weights_digest`).
        centre: of each signal.
        scale: of each signal, above 0.
        factors: of each signal after ``(signal - centre) / scale``, clipped at :data:`LARGEST`.
        offset: added to the sum.
        scores: of the knots, increasing.
        dice: median Dice coefficient at the knots, not decreasing, 0 to 1.

    Raises:
        ValueError: the numbers are none of these.
    """

    weights: str
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    factors: tuple[float, ...]
    offset: float
    scores: tuple[float, ...]
    dice: tuple[float, ...]

    def __post_init__(self) -> None:
        numbers = np.array([*self.centre, *self.scale, *self.factors, *self.scores, *self.dice, self.offset])
        if not (
            len(self.centre) == len(self.scale) == len(self.factors)
            and len(self.scores) == len(self.dice) > 0
            and np.isfinite(numbers).all()
            and min(self.scale, default=0.0) > 0.0
            and all(np.diff(self.scores) > 0.0)
            and all(np.diff([0.0, *self.dice, 1.0]) >= 0.0)
        ):
            raise ValueError("its numbers cannot be used")

    def contributions(self, found: FloatArray) -> FloatArray:
        """Return the part of each signal in the score, ``(..., len(SIGNALS))``; 0 at the centre."""
        relative = (found - np.array(self.centre)) / np.array(self.scale)
        # Signals beyond the range of the calibration are taken as those at its edge.
        parts: FloatArray = np.clip(relative, -LARGEST, LARGEST) * np.array(self.factors)
        return parts

    def score(self, found: FloatArray) -> FloatArray:
        """Return the weighted sum of signals ``(..., len(SIGNALS))``, ``(...)``."""
        summed: FloatArray = self.contributions(found).sum(axis=-1)
        return summed + self.offset

    def expected_dice(self, found: FloatArray) -> FloatArray:
        """Return the expected Dice coefficient, 0 to 1, as :meth:`score`."""
        return np.interp(self.score(found), self.scores, self.dice)

    def to_json(self, **more: Any) -> str:
        """Return the content of the file; ``more`` is added for readers."""
        fitted = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({"format": FORMAT, "signals": SIGNALS, **fitted, **more}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the calibration that :meth:`to_json` wrote.

        Raises:
            ValueError: it is not a calibration of these signals.
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
        if len(made.centre) != len(SIGNALS):
            raise ValueError("its lists have the wrong length")
        return made


@dataclass(frozen=True, slots=True)
class Assessment:
    """Confidence of one slice.

    Attributes:
        confidence: expected Dice, 0 to 1; None without a calibration.
        review: a person should check the contours.
        reason: sentence that names the signals that lowered the confidence; empty without ``review``.
    """

    confidence: float | None = None
    review: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Confidence of slices by a calibration, and the threshold for a review by a person.

    Attributes:
        calibration: None where there is none for the weights in use.
        source: origin of the confidence, or the reason why there is none.
        review_below: confidence below which a slice is flagged.
    """

    calibration: Calibration | None = None
    source: str = _NO_CALIBRATION
    review_below: float = 0.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the reviewer for the weights in use; without a calibration there is no confidence."""
        calibration, source = load_calibration(settings.weights or DEFAULT)
        return cls(calibration, source, settings.review_below)

    def assess(
        self,
        output: NDArray[np.float32],
        image: NDArray[np.float32],
        contours: Contours | None,
    ) -> Assessment:
        """Return the expected Dice: 0 without contours or with values not finite, None without calibration.

        Arguments as those of :func:`signals`.
        """
        made = self.calibration
        if made is None:
            return Assessment()
        if contours is None:
            return self._assessed(0.0, NO_CONTOURS)
        found = signals(output, image, contours)
        expected = float(made.expected_dice(found))
        if not math.isfinite(expected):
            return self._assessed(0.0, NOT_FINITE)
        parts = map(SignalPart, SIGNALS, found.tolist(), made.centre, made.contributions(found).tolist())
        return self._assessed(expected, explain(tuple(parts), expected, self.review_below))

    def _assessed(self, confidence: float, reason: str) -> Assessment:
        low = confidence < self.review_below
        return Assessment(confidence, low, reason if low else "")


def load_calibration(folder: Path) -> tuple[Calibration | None, str]:
    """Return the calibration in a folder of weights if it was fitted for them, and its description."""
    try:
        made = Calibration.from_json((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, _NO_CALIBRATION
    except (OSError, ValueError) as error:
        return None, f"none (the calibration cannot be used: {error})"
    if made.weights != weights_digest(folder):
        return None, "none (calibrated for other weights)"
    return made, f"calibrated for weights {made.weights[:12]}"
