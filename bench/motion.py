"""Motion correction on simulated slices of known motion: R2, residual motion, bias and time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.values import write_results
from inline.terminal.tables import print_values
from inline.terminal.text import print_lines
from model.evaluation.figures import figure
from model.host import use_one_blas_thread
from model.motion.correction import MotionCorrection, correct_motion
from model.motion.signal_models import MolliModel, SignalModel, T2PrepModel
from model.motion.state import MotionState
from model.relaxometry.parametric_map import ParametricMap
from model.synthesis.examination import SimulatedSlice, simulate_slice
from model.synthesis.motion import MotionKind

Floats = NDArray[np.float32]

SIZES_MM: Final = (0.0, 3.0, 6.0, 10.0, 15.0)
KINDS: Final[tuple[MotionKind, ...]] = ("rigid", "elastic")
QUANTITIES: Final = ("T1", "T2")
_SEED: Final = 910_000
"""First seed of the hearts: none of them was used to choose the correction."""
_REGISTRATION: Final = (
    "corrected .0f, left .0f, identical .0f, residual_before_px .2f, residual_after_px .2f, "
    "worst_after_px .2f"
)
_MAP: Final = "r2_before .3f, r2_after .3f, bias_before_ms .1f, bias_after_ms .1f, worst_bias_ms .1f"
_TIMES: Final = "fit_ms .0f, motion_ms .0f, motion_cpu_ms .0f"


@dataclass(frozen=True, slots=True)
class MovingSeries:
    """One simulated series, sorted by time.

    Attributes:
        images: ``(n, rows, columns)``.
        times_ms: of each.
        model: of its signal.
        motion_px: displacement of the tissue in each image, (x, y), ``(n, rows, columns, 2)``.
        labels: at rest: 0 background, 1 LV cavity, 2 myocardium.
        pixel_mm: pixel size.
    """

    images: Floats
    times_ms: NDArray[np.float64]
    model: SignalModel
    motion_px: Floats
    labels: NDArray[np.uint8]
    pixel_mm: float

    @classmethod
    def of(cls, simulated: SimulatedSlice, quantity: str) -> MovingSeries:
        """Return the T1 or the T2 series of a simulated slice."""
        t1 = quantity == "T1"
        images, times = (
            (simulated.molli, simulated.inversion_times_ms)
            if t1
            else (simulated.t2prep, simulated.preparation_times_ms)
        )
        motion = simulated.molli_motion_mm if t1 else simulated.t2prep_motion_mm
        order = np.argsort(times)
        if motion is None:
            motion = np.zeros((len(images), 2, *images.shape[1:]), np.float32)
        return cls(
            images=np.ascontiguousarray(images[order]),
            times_ms=times[order],
            model=MolliModel() if t1 else T2PrepModel(),
            motion_px=np.ascontiguousarray(motion[order].transpose(0, 2, 3, 1))
            / np.float32(simulated.pixel_mm),
            labels=simulated.labels,
            pixel_mm=simulated.pixel_mm,
        )

    def fit(self) -> ParametricMap:
        """Return the map of the images as acquired."""
        return self.model.map(self.images, self.times_ms)

    def correct(self, parametric: ParametricMap) -> MotionCorrection | None:
        """Return the corrected map."""
        spacing = (self.pixel_mm, self.pixel_mm)
        return correct_motion(self.images, self.times_ms, spacing, self.model, parametric)

    def remaining(self, displaced: Floats | None) -> tuple[Floats, NDArray[np.uint8]]:
        """Return the residual motion, and the labels at the common position of all images.

        A shift of all images together is no motion: the mean over the images is removed.

        Args:
            displaced: displacements that were applied, pixels ``(n, rows, columns, 2)``; None for none.

        Returns:
            Distance of each image's tissue from the mean position, pixels ``(n, rows, columns)``; labels.
        """
        y, x = np.indices(self.labels.shape).astype(np.float32)
        total = self.motion_px
        if displaced is not None:
            total = displaced + np.stack(
                [
                    cv2.remap(
                        motion, x + by[..., 0], y + by[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE
                    )
                    for motion, by in zip(self.motion_px, displaced, strict=True)
                ]
            )
        common = total.mean(axis=0)
        labels = cv2.remap(self.labels, x + common[..., 0], y + common[..., 1], cv2.INTER_NEAREST)
        return np.linalg.norm(total - common, axis=-1), np.asarray(labels, np.uint8)


def wall_median(parametric: ParametricMap, labels: NDArray[np.uint8]) -> float:
    """Return the median of a map in the wall, ms."""
    return float(np.median(parametric.values_ms[(labels == 2) & ~parametric.failed]))


def simulated_series(seed: int, motion_mm: float, kind: MotionKind) -> Iterator[tuple[str, MovingSeries]]:
    """Yield the T1 and the T2 series of a heart of usual size; the level follows the seed."""
    level = 0.15 + 0.7 * (seed % 7) / 6
    simulated = simulate_slice(seed, level=level, usual=True, motion_mm=motion_mm, motion=kind)
    for quantity in QUANTITIES:
        yield quantity, MovingSeries.of(simulated, quantity)


def measure(slices: int) -> dict[str, Any]:
    """Return the values of each quantity, kind and size of motion, over ``slices`` hearts."""
    use_one_blas_thread()  # as in the pipeline
    rows: dict[str, list[dict[str, float]]] = {}
    for number in range(slices):
        still = {quantity: each.fit() for quantity, each in simulated_series(_SEED + number, 0.0, "rigid")}
        for kind in KINDS:
            for size in SIZES_MM if kind == KINDS[0] else SIZES_MM[1:]:
                for quantity, series in simulated_series(_SEED + number, size, kind):
                    name = f"{quantity}, {kind} {size:g} mm" if size else f"{quantity}, at rest"
                    rows.setdefault(name, []).append(_measure_one(series, still[quantity]))
    return {"slices": slices, "motion": {name: _summarise(rows[name]) for name in sorted(rows)}}


def _measure_one(series: MovingSeries, still: ParametricMap) -> dict[str, float]:
    start = time.perf_counter()
    uncorrected = series.fit()
    fitted, used = time.perf_counter(), time.process_time()
    found = series.correct(uncorrected)
    corrected, used = time.perf_counter(), time.process_time() - used
    if found is None:
        raise ValueError("a simulated slice was not examined for motion")
    before, labels_before = series.remaining(None)
    after, labels_after = series.remaining(found.displaced())
    reference = wall_median(still, series.labels)

    def in_wall(parametric: ParametricMap, labels: NDArray[np.uint8]) -> float:
        return float(parametric.r_squared[labels == 2].mean())

    return {
        "corrected": float(found.state is MotionState.CORRECTED),
        "left": float(found.state is MotionState.LEFT or found.residual_stays),
        "identical": float(found.parametric is uncorrected),
        "residual_before_px": float(np.median(before[:, labels_before > 0])),
        "residual_after_px": float(np.median(after[:, labels_after > 0])),
        "r2_before": in_wall(uncorrected, labels_before),
        "r2_after": in_wall(found.parametric, labels_after),
        "r2_still": in_wall(still, series.labels),
        "bias_before_ms": wall_median(uncorrected, labels_before) - reference,
        "bias_after_ms": wall_median(found.parametric, labels_after) - reference,
        "fit_ms": (fitted - start) * 1000.0,
        "motion_ms": (corrected - fitted) * 1000.0,
        "motion_cpu_ms": used * 1000.0,
    }


def _summarise(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return counts, means of R2, medians of the size of the other values, and the worst of some."""
    counts = {name: sum(row[name] for row in rows) for name in ("corrected", "left", "identical")}
    values = {
        name: float(
            np.mean([row[name] for row in rows]) if name.startswith("r2") else np.median(_sizes(rows, name))
        )
        for name in rows[0]
        if name not in counts
    }
    worst = {
        "worst_after_px": max(_sizes(rows, "residual_after_px")),
        "worst_bias_ms": max(_sizes(rows, "bias_after_ms")),
    }
    return {"slices": len(rows), **counts, **values, **worst}


def _sizes(rows: list[dict[str, float]], name: str) -> list[float]:
    return [abs(row[name]) for row in rows]


def show(results: dict[str, Any], json_file: Path | None, plot: Path | None) -> None:
    """Write the values, draw an example, print the table."""
    write_results(json_file, results)
    draw(plot)
    count, rows = results["slices"], results["motion"]
    print_values(f"Motion of {count} hearts a row, pixels of 1.5 mm", "series", rows, _REGISTRATION)
    print_values("Their maps: R2 and bias in the wall", "series", rows, _MAP)
    print_values("Time of a slice, on top of the fit", "series", rows, _TIMES)
    print_lines(
        "identical: slices whose map is that of the images as acquired; left: flagged motion-left",
        "residuals: median over heart and images; bias: of the wall's median, against the series at rest",
        "median over the hearts (mean of R2), and the worst of them",
    )


def draw(file: Path | None) -> None:
    """Draw a slice at rest, moving and corrected, and the displacements; nothing without a file."""
    if file is None:
        return
    with figure(file, 2, 6, (17.0, 6.0), dpi=80) as grid:
        still = dict(simulated_series(_SEED, 0.0, "elastic"))
        for row, (quantity, series) in zip(grid, simulated_series(_SEED, 10.0, "elastic"), strict=True):
            uncorrected = series.fit()
            found = series.correct(uncorrected)
            displaced = found.displaced() if found else None
            if found is None or displaced is None:
                continue
            maps = (still[quantity].fit(), uncorrected, found.parametric)
            for axes, parametric, name in zip(
                row, maps, ("at rest", "as acquired", "corrected"), strict=False
            ):
                axes.imshow(
                    parametric.values_ms, cmap="viridis", vmin=0, vmax=2000 if quantity == "T1" else 120
                )
                axes.set_title(f"{quantity} {name}", fontsize=9)
            for axes, parametric, name in zip(row[3:], maps[1:], ("as acquired", "corrected"), strict=False):
                axes.imshow(parametric.r_squared, cmap="gray", vmin=0.8, vmax=1.0)
                axes.set_title(f"R2 {name}", fontsize=9)
            farthest = int(np.linalg.norm(displaced, axis=-1).max(axis=(1, 2)).argmax())
            length = np.linalg.norm(displaced[farthest], axis=-1) * series.pixel_mm
            shown = row[5].imshow(length, cmap="magma")
            row[5].set_title(f"displacement of image {farthest}, mm", fontsize=9)
            row[5].figure.colorbar(shown, ax=row[5])
            for axes in row:
                axes.axis("off")
    print_lines(f"plot: {file}")
