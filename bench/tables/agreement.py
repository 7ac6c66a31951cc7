"""Everybody's labels on each slice, and how well each two agree."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.contouring.segment import contour_slice
from model.engines.base import Engine
from model.evaluation.cases import LabelledSlice
from model.evaluation.metrics import Agreement, agreement
from model.frame import Frame

Labels = NDArray[np.uint8]

METHOD: Final = "myostream"


@dataclass(frozen=True, slots=True)
class Segmented:
    """A slice, what its readers drew and what was found.

    Attributes:
        slice: with its readers.
        probabilities: the network's answer in its frame, ``(3, 224, 224)``.
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
        """Labels by who drew them, the product first."""
        return {METHOD: self.found, **self.slice.readers}

    def frame(self) -> Frame:
        """How the slice lies in the network's frame."""
        rows, columns = self.slice.image.shape
        return Frame((rows, columns), self.slice.spacing)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two on one slice.

    Attributes:
        slice: its name.
        kind: of the map.
        level: ``basal``, ``mid``, ``apical`` or empty.
        first: the product, or a reader.
        second: a reader.
        agreement: of both; distances are NaN where one has no contour.
    """

    slice: str
    kind: str
    level: str
    first: str
    second: str
    agreement: Agreement

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.first} - {self.second}"

    @property
    def among_readers(self) -> bool:
        """No part of it is the product's."""
        return self.first != METHOD


@dataclass(frozen=True, slots=True)
class Value:
    """Median of a map over the myocardium that somebody drew on a slice, ms; NaN without one."""

    slice: str
    kind: str
    by: str
    median_ms: float


def segment_all(slices: Iterable[LabelledSlice], engine: Engine) -> list[Segmented]:
    """The product's answer to each slice."""
    found = []
    for each in slices:
        frame = Frame((each.image.shape[0], each.image.shape[1]), each.spacing)
        probabilities = engine.infer(frame.network_input(each.image)[None])[0]
        found.append(Segmented(each, probabilities, contour_slice(probabilities, frame)[0]))
    return found


def pairs(slices: Sequence[Segmented]) -> list[Pair]:
    """The product with each reader, and the readers with each other, on every slice."""
    return [
        Pair(
            each.slice.name,
            each.kind,
            each.slice.level,
            first,
            second,
            agreement(each.by[first], each.by[second], each.slice.spacing),
        )
        for each in slices
        for first, second in itertools.combinations(each.by, 2)
    ]


def values(slices: Sequence[Segmented]) -> list[Value]:
    """Medians by everybody on all maps in ms; windows of displays hold none."""
    return [
        Value(
            each.slice.name,
            each.kind,
            name,
            float(np.median(each.slice.image[labels == 2])) if (labels == 2).any() else float("nan"),
        )
        for each in slices
        if each.slice.in_ms
        for name, labels in each.by.items()
    ]
