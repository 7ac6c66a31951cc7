"""Labels by method and readers on each slice, and their agreement pair by pair."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from inline.contouring.convention import draw
from inline.contouring.segment import contour_slice
from inline.data.results import ContourOffsets
from model.architecture import CLASSES
from model.engines.base import Engine
from model.evaluation.cases import CaseError, LabelledSlice
from model.evaluation.contours_in.outlines import shown
from model.evaluation.evaluate import median_of
from model.evaluation.metrics import agreement
from model.frame import Frame

Labels = NDArray[np.uint8]

AT_BORDERS: Final = ContourOffsets(0.0, 0.0)
"""Convention of synthetic truth."""
METHOD: Final = "myostream"
METRICS: Final = {
    "dice": "Dice",
    "iou": "IoU",
    "hausdorff": "Hausdorff mm",
    "surface": "mean surface distance mm",
}
"""Headings of the metrics by their names in :class:`~model.evaluation.metrics.Agreement`."""


@dataclass(frozen=True, slots=True)
class Segmented:
    """A slice with its readers' labels and those of the method.

    Attributes:
        slice: with its readers.
        probabilities: of the classes in the network's frame, ``(3, 224, 224)``.
        found: labels ``(rows, columns)``; all 0 without a contour.
    """

    slice: LabelledSlice
    probabilities: NDArray[np.float32]
    found: Labels

    @property
    def kind(self) -> str:
        """Kind of map, as the tables name it."""
        return self.slice.kind.upper() + ("" if self.slice.in_ms else " (display window)")

    @property
    def by(self) -> dict[str, Labels]:
        """Labels by method and readers, the method first."""
        return {METHOD: self.found, **self.slice.readers}

    def frame(self) -> Frame:
        """Return the position of the slice in the network's frame."""
        rows, columns = self.slice.image.shape
        return Frame((rows, columns), self.slice.spacing)


def segment_all(slices: Iterable[LabelledSlice], engine: Engine, offsets: ContourOffsets) -> list[Segmented]:
    """Segment each slice and draw its contours by a convention.

    Raises:
        CaseError: a reader has the name of the method.
    """
    slices, found = list(slices), []
    if named := [each.name for each in slices if METHOD in each.readers]:
        raise CaseError(
            f"a reader is named {METHOD}, as the product in the tables; rename its files, of the slices "
            f"{shown(named)}"
        )
    for each in slices:
        frame = Frame((each.image.shape[0], each.image.shape[1]), each.spacing)
        probabilities = engine.infer(frame.network_input(each.network_image)[None])[0, :CLASSES]
        drawn = draw(contour_slice(probabilities, frame), each.spacing, offsets)
        found.append(Segmented(each, probabilities, drawn.labels))
    return found


def pairs(slices: Sequence[Segmented]) -> pd.DataFrame:
    """Compare the method with each reader, and the readers with each other, on every slice.

    Returns:
        One row for each pair and slice: ``slice``, ``kind``, ``level``, ``first``, ``second``, ``pair`` (both
        names), ``among`` (whether both are readers), and the :data:`METRICS`; distances are NaN where one of
        both has no contour.
    """
    rows = []
    for each in slices:
        for first, second in itertools.combinations(each.by, 2):
            found = agreement(each.by[first], each.by[second], each.slice.spacing)
            rows.append(
                {
                    "slice": each.slice.name,
                    "kind": each.kind,
                    "level": each.slice.level,
                    "first": first,
                    "second": second,
                    "pair": f"{first} - {second}",
                    "among": first != METHOD,
                    **{metric: getattr(found, metric) for metric in METRICS},
                }
            )
    return pd.DataFrame(rows)


def medians(slices: Sequence[Segmented]) -> pd.DataFrame:
    """Return the median of each map's finite values, ms, in the myocardium of method and readers.

    Returns:
        One row for each slice and reader: ``slice``, ``kind``, ``by``, ``median_ms`` (NaN without
        any). Images in grey levels of a display window are left out.
    """
    rows = [
        (each.slice.name, each.kind, name, median_of(each.slice.image[labels == 2]))
        for each in slices
        if each.slice.in_ms
        for name, labels in each.by.items()
    ]
    return pd.DataFrame(rows, columns=["slice", "kind", "by", "median_ms"])
