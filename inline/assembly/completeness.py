"""Checks of a series by its times: images that seem to be missing, came twice or are of two acquisitions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from inline.assembly.group import FEWEST, NUMBERING, SHORTEST, Group
from inline.assembly.repetition import NEAR_MS, SAME_MS, ascending
from inline.assembly.times import ROUNDING_MS, Milliseconds, within_a_heartbeat
from inline.assembly.timing import Remark
from inline.data.flags import Flag
from inline.data.series import Quantity
from inline.settings import AssemblySettings

LATEST_FIRST_MS: Final = 400.0
"""Latest first inversion time of a whole series. Groups of a MOLLI series begin at 100 to 350 ms
(Messroghli et al. 2004, Magn Reson Med 52:141: 100, 200, 350; Piechnik et al. 2010,
J Cardiovasc Magn Reson 12:69: 100, 180, 260)."""
_TWO_IMAGES: Final = (
    "A T2 series of two images seems to lack some: they show neither noise nor motion, which may make T2 "
    "wrong by a tenth and more. State the number (setting assembly.images) if it is whole."
)
_ALL_IMAGES: Final = (
    "The inversion times are those of ShMOLLI. All images are fitted, without its conditional choice of "
    "images (Piechnik et al. 2010), which makes native T1 some 10 % too short. Use the scanner's map."
)


def remarks_on_times(
    quantity: Quantity, ms: Milliseconds, settings: AssemblySettings, group: Group | None = None
) -> list[Remark]:
    """Return what the times of a slice's images show: ShMOLLI, images that came twice or are missing.

    Args:
        quantity: T1 or T2.
        ms: times in the order of arrival, at least as many as a fit needs.
        settings: with the number of images.
        group: the images with their counters; None for those of arrays, which have none.
    """
    times = sorted(time for time in ms if time is not None)
    averages = [0] * len(ms) if group is None else group.counter("average")
    twice = "" if group is None else _mixed(group, ms)
    if quantity is Quantity.T1:
        twice = _first_anew(ms, averages) or twice
        # Where no counter but the image index runs, equal times are those of averages.
        if group is None or group.running:
            twice = twice or _doubled(ms, averages)
    findings: list[Remark] = []
    if quantity is Quantity.T1 and _is_shmolli(times):
        findings.append((Flag.SHMOLLI, _ALL_IMAGES))
    if twice:
        findings.append((Flag.DUPLICATE_IMAGES, twice))
    if missing := _incomplete(quantity, times, settings):
        findings.append((Flag.MISSING_IMAGES, missing))
    return findings


def _is_shmolli(times: list[float]) -> bool:
    """Return whether ascending inversion times, ms, are of three inversions with 5, 1 and 1 image.

    The first images of the three inversions have short times; those of the first follow a heartbeat apart. In
    other schemes a second inversion gives a time beside each of these.
    """
    short = sum(time <= LATEST_FIRST_MS for time in times)
    return len(times) == 7 and short == 3 and bool((np.diff(times[3:]) > LATEST_FIRST_MS / 2).all())


def _first_anew(ms: Milliseconds, averages: Sequence[int]) -> str:
    """Return that the first image of a T1 series came again after at most three; empty if it did not.

    Its inversion time is that of the protocol, the shortest, and comes once in most acquisitions: those after
    other inversions are longer. Of averages, each time comes equally often.

    Args:
        ms: times in the order of arrival.
        averages: number of the average of each image.
    """
    first = ms[0]
    if first is None or first > min(time for time in ms if time is not None):
        return ""

    def places(time: float) -> list[int]:
        return [
            place for place, each in enumerate(ms) if each is not None and abs(each - time) <= ROUNDING_MS
        ]

    again = places(first)
    if len(again) != 2 or again[1] >= FEWEST[Quantity.T1]:
        return ""
    in_pairs = all(len(places(time)) == 2 for time in ms if time is not None)
    if in_pairs or averages[again[0]] != averages[again[1]]:
        return ""
    return (
        f"The first inversion time, {first:g} ms, came twice, and both images are fitted: the first one was "
        "acquired anew, the acquisition was broken off and repeated, or the protocol has two inversions with "
        "the same time. Send a repetition as its own series."
    )


def _mixed(group: Group, ms: Milliseconds) -> str:
    """Return that the images seem to be those of two acquisitions; empty if they do not.

    Two of them have the same time and the same counters but the image index, and follow each other, or all
    images are such pairs. Counters that begin again at an inversion of the same nominal time fall before it,
    and no scheme has inversions of equal length alone. Where no other counter runs, equal times are those of
    averages.

    Args:
        group: images of the slice.
        ms: times in the order of arrival.
    """
    near = min(SAME_MS[group.quantity], NEAR_MS)
    counters = zip(*(group.counter(name) for name in NUMBERING if name != "image_index"), strict=True)
    timed = [(each, time) for each, time in zip(counters, ms, strict=True) if time is not None]

    def alike(images: list[tuple[tuple[int, ...], float]]) -> list[bool]:
        return [one == two and abs(later - time) <= near for (one, time), (two, later) in pairwise(images)]

    in_turn = any(alike(timed[: ascending([each for each, _ in timed])]))
    beside = [False, *alike(sorted(timed)), False]
    all_twice = all(before or after for before, after in pairwise(beside))
    if len({each for each, _ in timed}) < 2 or not (in_turn or all_twice):
        return ""
    return (
        "Images differ in the image index, not in time or another counter, and all are fitted. They may be "
        "averages, or those of two acquisitions, or as acquired and corrected, whose map is a mixture. "
        "Send each acquisition as its own series, and number averages by the counter average."
    )


def _doubled(ms: Milliseconds, averages: Sequence[int]) -> str:
    """Return that inversion times come twice, as in two acquisitions; empty if they do not.

    At most three times after one inversion are those after another, even where both are nominal. Of two
    acquisitions at different heart rates only the times of the first images after an inversion agree, the
    shortest among them, and the images are more than those of a scheme in use.

    Args:
        ms: times in the order of arrival.
        averages: number of the average of each image.
    """
    timed = sorted((each, time) for each, time in zip(averages, ms, strict=True) if time is not None)
    near = [one == two and later - time <= NEAR_MS for (one, time), (two, later) in pairwise(timed)]
    come_again = sum(now and not before for before, now in pairwise([False, *near]))
    if come_again < FEWEST[Quantity.T1] and not (near[0] and len(timed) >= 2 * SHORTEST[Quantity.T1]):
        return ""
    return (
        "Inversion times come twice, and all images are fitted. Of averages that is right. Of two "
        "acquisitions T1 is a mixture: send each as its own series (in DICOM, under its own Series Instance "
        "UID), and in MRD number averages by the counter average."
    )


def _incomplete(quantity: Quantity, times_ms: list[float], settings: AssemblySettings) -> str:
    """Return why a series seems to lack images although none is known to be missing; empty if it does not.

    A sender that sends a part of a series may state no number of images, or that of the part.

    Args:
        quantity: T1 or T2.
        times_ms: of the images, ascending.
        settings: with the number of images.
    """
    images, first_ms = len(times_ms), times_ms[0]
    few = images < min(settings.images or SHORTEST[quantity], SHORTEST[quantity])
    if quantity is Quantity.T2:
        return _TWO_IMAGES if few else ""
    if first_ms > LATEST_FIRST_MS:
        return (
            f"The shortest inversion time is {first_ms:g} ms, that of a whole MOLLI series 100 to 350 ms: "
            "images seem to be missing, without which T1 may be wrong by a tenth and more."
        )
    if within_a_heartbeat(times_ms):
        return (
            "No inversion time is a heartbeat after the one before, as in a TI scout. If this is MOLLI, "
            "images seem to be missing, without which T1 may be wrong by a tenth and more."
        )
    if few:
        return (
            f"A T1 series of {images} images seems to lack some, without which T1 may be wrong by a tenth "
            "and more: MOLLI has 7 to 11. State the number (setting assembly.images) if it is whole."
        )
    return ""
