"""Checks of a map and its values against what tissue can have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.data.flags import Finding, Flag
from inline.data.results import Contours, RegionValues
from inline.data.series import TISSUE_MS, MappingSeries, Quantity
from model.polygons import ring_labels
from model.relaxometry.brightness import bright
from model.relaxometry.noise import CLEAN, Noise, molli_noise, t2prep_noise
from model.relaxometry.parametric_map import ParametricMap

Pixels = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Rows and columns of pixels."""

UNSURE: Final = 0.3
"""Largest relative standard deviation of a usable pixel value."""
_FEWEST: Final = 0.05
"""Share of certain pixels in a fitted map below which the map counts as empty."""
_POOR_FIT: Final = 0.9
"""Lower bound of the median R2 of the fit in the myocardium, and of the R2 of a pixel with a large SD."""
_LOST_SD: Final = 0.2
"""Relative standard deviation of a pixel above which a low R2 means lost signal. R2 alone is low too where
the signal varies little beside its noise: that of many echo times and a long T2, whose median is right."""
_FAILED: Final = 0.2
"""Largest share of the myocardium in which the fit may fail."""
_SHORTEST_NATIVE_MS: Final = 500.0
"""T1 of a native wall below which it counts as fat. Chosen: of 100,000 hearts of
:func:`model.synthesis.tissues.draw_tissue_values` with their pathologies 0.2 % have a shorter one, all with
iron or Fabry disease; their fat has it in 89 %."""
_NATIVE_CAVITY_MS: Final = 700.0
"""T1 of the cavity from which a map counts as native here; after contrast agent blood has 300 to 600 ms."""
_LONGEST_T2_MS: Final = 80.0
"""T2 of a wall above which it counts as fat or fluid. Chosen: 0.1 % of the same hearts have a longer one."""
_LONGEST_PART_T2_MS: Final = 100.0
"""Likewise of a part of a wall. Of 299 synthetic slices with oedema 35 have a sixth above 80 ms in a ring
below, two one above 100 ms."""
_PART_OF_RING: Final = 0.6
"""T1 of a part, as a share of that of the ring, above which it is no fat: a wall with iron is short all
around."""
_NATIVE_BESIDE_PART_MS: Final = 800.0
"""T1 of the cavity from which a part is judged: beside 720 ms a scar with contrast agent may have 500 ms."""
_CLIPPED: Final = 0.05
"""Share of myocardium or blood that is clipped from which values may be wrong: half of a segment is 8 %."""
_SPIKES: Final = 4
"""Pixels that may be brighter than the clipped ones, such as a marker that was drawn later."""
_EQUAL: Final = 1e-3
"""Difference of equal pixels, as a share of the largest value: rounding."""
_FEWEST_LEVELS: Final = 24
"""Grey levels of the myocardium up to which rounding is reported. With 24 over all images of a series its
median T1 is wrong by up to 2 %, T2 by up to 4 %; with 8 by 6 % and 10 % (90th percentiles of simulated
tissue without noise, which would even rounding out)."""
_WHOLE: Final = 0.01
"""Difference from a whole number of steps, in steps: rounding of float32."""
_FAR: Final = 4.0
"""Largest value of the myocardium over its 95th percentile: more is a spike."""
_MOST_PIXELS: Final = 1000
"""Pixels among which steps are sought."""
_BIASED: Final = {Quantity.T1: 0.012, Quantity.T2: 0.02}
"""Estimated error of the median by noise, as a share, from which it is reported. The aim is 2 %: 20 ms of a
native T1 of 1000 ms, about one standard deviation among healthy persons. The estimate of T1 is 0.4 to 1 times
the error, mostly 0.6, that of T2 about the error (:mod:`bench.noise`)."""
_FEWEST_SNR: Final = 8.0
"""SNR below which noise is reported in any case: there the estimate is least certain."""
_BIASED_PART: Final = {Quantity.T1: 0.025, Quantity.T2: 0.05}
"""Likewise of a part of the wall, whose few pixels show noise and bias less exactly."""
_CLEAN_PART: Final = 12.0
"""SNR from which a part has no such bias."""
_FEWEST_PIXELS: Final = 20
"""Pixels of a part from which its noise is estimated, and its median judged."""
_TIMES: Final = {Quantity.T1: "inversion times", Quantity.T2: "preparation times"}
_SCALE: Final = {Quantity.T1: "assembly.t1_map_scale", Quantity.T2: "assembly.t2_map_scale"}


def unsure(parametric: ParametricMap) -> NDArray[np.bool_]:
    """Return the pixels ``(rows, columns)`` without a fit, or with an uncertain one (air, lung)."""
    return parametric.failed | (parametric.sd_ms > UNSURE * parametric.values_ms)


def poorly_fitted(parametric: ParametricMap) -> NDArray[np.bool_]:
    """Return the pixels ``(rows, columns)`` without a value, or with a low R2 of the fit and a large SD.

    A scanner's map has neither R2 nor SD.
    """
    uncertain = parametric.sd_ms > _LOST_SD * parametric.values_ms
    return parametric.failed | ((parametric.r_squared < _POOR_FIT) & uncertain)


def of_values(values_ms: NDArray[np.float32], lost: NDArray[np.bool_]) -> ParametricMap:
    """Return a map of values alone, in which :func:`poorly_fitted` finds the pixels ``lost`` in the fit."""
    return replace(
        ParametricMap.of_values(values_ms), sd_ms=np.where(lost, np.float32(np.inf), np.float32(0.0))
    )


def within_tissue(
    parametric: ParametricMap, quantity: Quantity, contours: Contours
) -> tuple[ParametricMap, str]:
    """Return a scanner's map whose pixels above what tissue can have count as failed, and a note on them.

    A scanner may write a number such as 4095 where it has no value: a few of them decide mean and SD.

    Args:
        parametric: the scanner's map.
        quantity: T1 or T2.
        contours: in pixels of the map.

    Returns:
        The map itself and no note where no pixel of the myocardium lies above, or half of them: its scale is
            wrong then.
    """
    rows, columns = parametric.values_ms.shape
    labels, longest = ring_labels(contours.endo, contours.epi, (rows, columns)), TISSUE_MS[quantity][1]
    wall, above = (labels == 2) & ~parametric.failed, parametric.values_ms > longest
    count = int((above & wall).sum())
    if not 0 < count < 0.5 * wall.sum():
        return parametric, ""
    note = (
        f"{count} of {int(wall.sum())} pixels of the myocardium have a {quantity} above {longest:g} ms, "
        "which no tissue has, and are left out: check what the scanner writes where its map has no value."
    )
    return replace(parametric, failed=parametric.failed | above), note


def check_values(
    parametric: ParametricMap, quantity: Quantity, regions: Sequence[RegionValues], *, scanner_made: bool
) -> list[tuple[Flag, str]]:
    """Return the flags of implausible values, each with a sentence on the reason and on what to check.

    Args:
        parametric: the map.
        quantity: T1 or T2.
        regions: values of the myocardium, the whole ring first; none where there is no contour. The map is
            checked then, over the pixels with a certain fit: most of them are tissue.
        scanner_made: the map comes from the scanner.
    """
    check = (
        f"check the scale of the scanner's map (setting {_SCALE[quantity]})"
        if scanner_made
        else f"check the {_TIMES[quantity]} and their unit, and that the images are weighted by {quantity}"
    )
    valid = ~parametric.failed & (parametric.values_ms > 0.0)
    sure = valid & ~unsure(parametric)
    measured = bool(regions) and regions[0].median is not None
    if not valid.any() or (not scanner_made and not measured and sure.mean() < _FEWEST):
        reason = (
            "The scanner's map holds no value above 0"
            if scanner_made
            else f"Only {100.0 * float(sure.mean()):.0f} % of the pixels could be fitted"
        )
        return [(Flag.EMPTY_MAP, f"{reason}, so the {quantity} map is empty: {check}.")]
    if regions and not measured:
        return [
            (
                Flag.NO_VALUES,
                f"Hardly any pixel within the contours has a {quantity} value: check the contours on the map "
                f"and {'its values' if scanner_made else f'the signal of the images there; {check}'}.",
            )
        ]
    if regions:
        medians = {each.name: each.median for each in regions if each.median is not None}
    else:
        medians = {"whole map": float(np.median(parametric.values_ms[sure]))} if sure.any() else {}
    low, high = TISSUE_MS[quantity]
    outside = {name: median for name, median in medians.items() if not low <= median <= high}
    if not outside:
        return []
    if "global" in outside:
        outside = {"global": outside["global"]}
    named = ", ".join(f"{name} {median:.5g} ms" for name, median in outside.items())
    return [
        (
            Flag.IMPLAUSIBLE_VALUES,
            f"Median {quantity} outside what tissue can have ({low:g} to {high:g} ms), {named}: {check}.",
        )
    ]


def check_wall(
    parametric: ParametricMap,
    quantity: Quantity,
    labels: NDArray[np.uint8],
    regions: Sequence[RegionValues],
) -> list[tuple[Flag, str]]:
    """Return the flag of a wall, or of parts of it, whose values are those of fat or fluid, with a sentence.

    A network that takes a small apex for the cavity takes the fat around it for the wall, and one that takes
    a lesion for the cavity the fat beside it.

    Args:
        parametric: the map.
        quantity: T1 or T2.
        labels: 0 background, 1 LV cavity, 2 myocardium, ``(rows, columns)``.
        regions: values of the myocardium, the whole ring first; none where there is no contour.
    """
    # As certain as on a map that is kept without its SD, for another level.
    cavity = parametric.values_ms[(labels == 1) & ~poorly_fitted(parametric)]
    if not regions or not len(cavity) or (ring := regions[0].median) is None:
        return []
    blood = float(np.median(cavity))
    low, high = TISSUE_MS[quantity]
    if low <= ring <= high and _as_of_fat(ring, blood, quantity):
        wrong = {"the wall": ring}
    else:
        wrong = {
            each.name: each.median
            for each in regions[1:]
            if each.median is not None
            and each.pixels >= _FEWEST_PIXELS
            and low <= each.median <= high
            and _part_as_of_fat(each.median, ring, blood, quantity)
        }
    if not wrong:
        return []
    named = " and ".join(f"of {name} is {median:.4g} ms" for name, median in wrong.items())
    return [
        (
            Flag.IMPLAUSIBLE_VALUES,
            f"Median {quantity} {named} beside a cavity of {blood:.4g} ms, as of fat or "
            "fluid: check on the map whether the contours surround the left ventricle.",
        )
    ]


def _as_of_fat(wall_ms: float, blood_ms: float, quantity: Quantity) -> bool:
    """Return whether a wall beside blood has the T1 or T2 of fat or fluid."""
    if quantity is Quantity.T1:
        return wall_ms < _SHORTEST_NATIVE_MS and blood_ms >= _NATIVE_CAVITY_MS
    return wall_ms > _LONGEST_T2_MS or wall_ms >= blood_ms


def _part_as_of_fat(part_ms: float, ring_ms: float, blood_ms: float, quantity: Quantity) -> bool:
    """Return whether a part of a wall beside blood has the T1 or T2 of fat or fluid, and no disease."""
    if quantity is Quantity.T1:
        shortest = min(_SHORTEST_NATIVE_MS, _PART_OF_RING * ring_ms)
        return part_ms < shortest and blood_ms >= _NATIVE_BESIDE_PART_MS
    return part_ms > _LONGEST_PART_T2_MS


def poor_fit(parametric: ParametricMap, labels: NDArray[np.uint8], *, scanner_made: bool = False) -> bool:
    """Return whether the signal model describes the myocardium badly (label 2 of ``(rows, columns)``).

    A scanner's map has no R2; pixels without a value count as failed.
    """
    wall = labels == 2
    if not wall.any():
        return False
    failed = parametric.failed[wall].mean() > _FAILED
    return bool(failed or (not scanner_made and np.median(parametric.r_squared[wall]) < _POOR_FIT))


def clipped(series: MappingSeries, labels: NDArray[np.uint8]) -> tuple[Finding, ...]:
    """Return the finding of images whose pixels are clipped at a largest value; none without such.

    A largest value that many pixels share is a limit of the sender's, such as 4095 of 12 bits. Bright images
    are clipped first, which makes T2 too large. ECV needs the T1 of the blood too, brighter than the wall.

    Args:
        series: the images as acquired.
        labels: 0 background, 1 cavity, 2 myocardium, ``(rows, columns)``.
    """
    parts = {"myocardium": labels == 2} | ({"blood": labels == 1} if series.quantity is Quantity.T1 else {})
    finite = np.isfinite(series.images)
    shares: dict[str, tuple[float, int]] = {}
    for name, part in parts.items():
        # Other pixels have no fit.
        pixels = series.images[:, part & finite.all(axis=0)]
        if not pixels.size:
            continue
        count = max(int(_CLIPPED * pixels.shape[1]), 1)
        limit = np.partition(pixels, -count, axis=1)[:, -count, None]
        beyond = (finite & (series.images > limit[:, :, None])).sum(axis=(1, 2))[:, None]
        at_limit = (pixels == limit) & (limit > 0.0) & (beyond <= _SPIKES)
        image = int(at_limit.sum(axis=1).argmax())
        share = float(at_limit[image].mean())
        # Equal tissue without noise is equally bright in every image; clipped pixels differ in the others.
        if share >= _CLIPPED and np.ptp(pixels[:, at_limit[image]], axis=1).max() > _EQUAL * limit[image]:
            shares[name] = share, image
    if not shares:
        return ()
    said = " and ".join(
        f"{100.0 * share:.0f} % of the {name} in the image of {series.times_ms[image]:g} ms"
        for name, (share, image) in shares.items()
    )
    return (
        (
            Flag.CLIPPED_IMAGES,
            f"Pixels are clipped at the largest value of the image: {said}. The values may be wrong: "
            "reconstruct with a lower scale.",
        ),
    )


def coarse(series: MappingSeries, labels: NDArray[np.uint8]) -> tuple[Finding, ...]:
    """Return the finding of images with too few grey levels in the myocardium; none without such.

    A sender that makes whole numbers of small values leaves few. Residuals do not show it, since all pixels
    of a tissue are wrong alike.

    Args:
        series: the images as acquired.
        labels: 0 background, 1 cavity, 2 myocardium, ``(rows, columns)``.
    """
    wall = series.images[:, labels == 2]
    some = wall[:, :: max(wall.shape[1] // _MOST_PIXELS, 1)]
    some = some[np.isfinite(some)]
    if not some.size:
        return ()
    # A spike has a level of its own, and all steps below it would count.
    values = np.unique(some[np.abs(some) / np.float32(_FAR) <= bright(np.abs(some))]).astype(np.float64)
    if not 1 < len(values) <= _FEWEST_LEVELS:
        return ()
    above = values - values[0]
    steps = above / np.diff(values).min()
    # Equal tissue without noise has few values too, but no steps.
    if steps[-1] >= _FEWEST_LEVELS or np.abs(steps - np.round(steps)).max() > _WHOLE:
        return ()
    return (
        (
            Flag.NOISY_IMAGES,
            f"The myocardium has only {steps[-1] + 1.0:.0f} grey levels in all images, and rounding makes "
            f"{series.quantity} wrong by some percent: send the images in a larger scale.",
        ),
    )


def noisy(
    series: MappingSeries, labels: NDArray[np.uint8], corrected: NDArray[np.float32] | None = None
) -> tuple[Finding, ...]:
    """Return the finding of images whose noise changes the median of the myocardium; none without.

    One T1 image that shows other tissue there than the others is no noise; it is reported as a poor fit.

    Args:
        series: images as acquired; the noise of signed ones has mean 0 and changes nothing.
        labels: 0 background, 1 cavity, 2 myocardium, ``(rows, columns)``.
        corrected: the images of the map, where it is not that of the images as acquired.
    """
    wall = labels == 2
    if not wall.any():
        return ()
    rows, columns = wall.nonzero()
    noise = _noise(series, series.images if corrected is None else corrected, (rows, columns))
    if noise is not None and noise.odd_image is not None:
        # Interpolation of corrected images lowers the noise of some more than of others.
        if corrected is not None:
            return ()
        return (
            (
                Flag.POOR_FIT,
                f"The image of {series.times_ms[noise.odd_image]:g} ms differs from the fit of the others "
                "over the myocardium: check whether the heart moved in it.",
            ),
        )
    if noise is None or series.signed:
        return ()
    biased = abs(noise.bias) >= _BIASED[series.quantity]
    if not biased and noise.snr >= _FEWEST_SNR:
        return ()
    effect = f"may make {series.quantity} of magnitudes wrong by some percent"
    if biased:
        wrong = f"{100.0 * abs(noise.bias):.0f} % too {'long' if noise.bias > 0.0 else 'short'}"
        effect = f"makes {series.quantity} of magnitudes some {wrong} or more"
    return (
        (
            Flag.NOISY_IMAGES,
            f"The signal of the myocardium is only {noise.snr:.0f} times the noise, which {effect}: check "
            "the coil, or acquire thicker slices or larger pixels.",
        ),
    )


def noisy_parts(
    series: MappingSeries, parts: Mapping[str, Pixels], corrected: NDArray[np.float32] | None = None
) -> tuple[Finding, ...]:
    """Return the finding of parts of a wall whose own signal is near the noise; none without such.

    The ring has more signal where an implant or the distance from the coil takes that of a part.

    Args:
        series: images as acquired; the noise of signed ones has mean 0 and changes nothing.
        parts: rows and columns of the pixels of each.
        corrected: the images of the map, where it is not that of the images as acquired.
    """
    if series.signed:
        return ()
    images = series.images if corrected is None else corrected
    found = {
        name: noise
        for name, pixels in parts.items()
        if len(pixels[0]) >= _FEWEST_PIXELS
        and (noise := _noise(series, images, pixels, _CLEAN_PART)) is not None
        and noise.odd_image is None
        and (noise.snr < _FEWEST_SNR or abs(noise.bias) >= _BIASED_PART[series.quantity])
    }
    if not found:
        return ()
    least = min(noise.snr for noise in found.values())
    sentence = (
        f"The signal of a part of the wall ({', '.join(found)}) is only {least:.0f} times the noise, and "
        f"{series.quantity} of magnitudes may be wrong by some percent or more: check the images there."
    )
    return ((Flag.NOISY_IMAGES, sentence),)


def _noise(
    series: MappingSeries, images: NDArray[np.float32], pixels: Pixels, clean: float = CLEAN
) -> Noise | None:
    """Return the noise of images ``(n, rows, columns)`` at pixels; ``clean`` as of :func:`molli_noise`."""
    own = images[:, pixels[0], pixels[1]]
    if series.quantity is Quantity.T1:
        return molli_noise(own, series.times_ms, signed=series.signed, clean=clean)
    return t2prep_noise(own, series.times_ms, clean=clean)
