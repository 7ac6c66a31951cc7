"""Content of the page: places of the maps, every word and every number. Nothing is drawn here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np

from inline.contouring.aha_segments import segment_number
from inline.contouring.regions import NO_VALUE
from inline.contouring.septum import MID_SEPTUM
from inline.data.examination import SLICE_FLAGS, HaematocritSource
from inline.data.flags import Flag
from inline.data.results import SliceLevel
from inline.data.time_stamps import unwrapped
from inline.data.version import software_version
from inline.emit.record import printed
from inline.mrd.header import MeasurementHeader
from inline.report.maps import Kind, RegionValue, ReportMap
from inline.report.positions import latest, stacks
from inline.report.wording import clean, importance, sentence

DISCLAIMER: Final = "For research only. Not a medical device."
SHOWN: Final = 3
"""Most slice positions whose maps are shown."""
UNUSUAL: Final = 2.0
"""z-score from which a value is marked."""
_LEVELS: Final = (SliceLevel.BASAL, SliceLevel.MID, SliceLevel.APICAL, SliceLevel.UNKNOWN)
_WEIGHTS: Final = re.compile(r"\bweights ([0-9a-f]{12})\b")
_BULLS_EYES: Final = (Kind.T1_NATIVE, Kind.T1, Kind.ECV, Kind.PARTITION, Kind.T2)
_HAEMATOCRIT_SOURCE: Final = {
    HaematocritSource.GIVEN: "as given",
    HaematocritSource.FILE: "of the study by the site's file",
    HaematocritSource.SYNTHETIC: "synthetic, from blood T1",
}
NOTHING: Final = "–"
"""Cell of a table without a value."""


@dataclass(frozen=True, slots=True)
class ExaminationInfo:
    """Facts of an examination that its results do not hold; empty or None where not known.

    Names, birth dates and numbers of patients have no place in it.

    Attributes:
        protocol: name of the protocol.
        date, time: of the examination.
        system: vendor and model of the scanner.
        field_strength: tesla.
        weights: SHA-256 of the network's weights; empty takes that of the confidence's calibration.
        engine: name of the engine that runs the network.
    """

    protocol: str = ""
    date: str = ""
    time: str = ""
    system: str = ""
    field_strength: float | None = None
    weights: str = ""
    engine: str = ""

    def __post_init__(self) -> None:
        """Check the types.

        Raises:
            ValueError: a field other than ``field_strength`` is no text.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name != "field_strength" and not isinstance(value, str):
                raise ValueError(f"{each.name} is a text, not a {type(value).__name__}")

    @classmethod
    def of_header(cls, header: MeasurementHeader, *, weights: str = "", engine: str = "") -> Self:
        """Return what the header of a measurement states."""
        return cls(
            protocol=header.protocol_name,
            date=header.study_date,
            time=header.study_time.partition(".")[0],
            system=header.system,
            field_strength=header.field_strength or None,
            weights=weights,
            engine=engine,
        )


@dataclass(frozen=True, slots=True)
class Position:
    """Maps of one slice position.

    Attributes:
        name: level, or slice number.
        maps: the one of each kind that the page states.
    """

    name: str
    maps: Mapping[Kind, ReportMap]


@dataclass(frozen=True, slots=True)
class Cell:
    """Text of a table; ``marked`` where the value is unusual."""

    text: str
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Row of a table: slice position or kind, region, and a cell for each kind or segment."""

    place: str
    region: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class BullsEye:
    """AHA segments of one kind.

    Attributes:
        segments: value by number, 1 to 16.
        doubtful: numbers of those to which a slice whose contours need review contributes.
    """

    kind: Kind
    segments: Mapping[int, RegionValue]
    doubtful: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Page:
    """Content of a report.

    Attributes:
        title: of the page.
        facts: name and value, of the header.
        kinds: of the maps, a row of the grid for each.
        columns: slice positions that are shown, a column of the grid for each.
        legend: sentence on the choice of the columns; empty where all are shown.
        bulls_eyes: of the kinds that have segments.
        no_segments: reason why there is no bull's-eye.
        slices: table of the slice positions: a cell for each kind.
        segments: table of the kinds: a cell for each of the 16 segments.
        caption: meaning of the numbers.
        findings: flags and errors in words, then notes.
        provenance: name and value.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    kinds: tuple[Kind, ...]
    columns: tuple[Position, ...]
    legend: str
    bulls_eyes: tuple[BullsEye, ...]
    no_segments: str
    slices: tuple[Row, ...]
    segments: tuple[Row, ...]
    caption: str
    findings: tuple[str, ...]
    provenance: tuple[tuple[str, str], ...]


def page(maps: Sequence[ReportMap], info: ExaminationInfo | None = None) -> Page:
    """Return the content of the page of an examination.

    Args:
        maps: of :func:`inline.report.maps.report_maps`, in the order of their results.
        info: facts that the results do not hold.
    """
    info = info or ExaminationInfo()
    found, replaced = positions(maps)
    kinds = tuple(kind for kind in Kind if any(kind in each.maps for each in found))
    columns = choose(found)
    eyes = tuple(
        BullsEye(kind, segments, doubtful(found, kind))
        for kind in _BULLS_EYES
        if (segments := pooled(found, kind)) is not None
    )
    legend = ""
    if len(columns) < len(found):
        legend = f"Maps of {len(columns)} of {len(found)} slice positions."
    return Page(
        title=_title(kinds),
        facts=_facts(maps, info),
        kinds=kinds,
        columns=columns,
        legend=legend,
        bulls_eyes=eyes,
        no_segments="" if eyes else _no_segments(maps),
        slices=tuple(_slice_rows(found, kinds)),
        segments=tuple(_segment_rows(found, kinds)),
        caption=_caption(found, kinds, eyes),
        findings=(*replaced, *_findings(found)),
        provenance=_provenance(maps, info),
    )


def positions(maps: Iterable[ReportMap]) -> tuple[tuple[Position, ...], tuple[str, ...]]:
    """Return the slice positions from base to apex, and a sentence for each result that another replaced.

    :func:`inline.report.positions.stacks` states which maps are of one position, and
    :func:`~inline.report.positions.latest` which of several results of one kind is taken.
    """
    ordered = _by_position(list(maps))
    names = _names(ordered)
    found, replaced = [], []
    for name, group in zip(names, ordered, strict=True):
        chosen: dict[Kind, ReportMap] = {}
        for kind in Kind:
            same = [each for each in group if each.kind is kind]
            if not same:
                continue
            chosen[kind] = latest(same)
            if len(same) > 1:
                post = chosen[kind].post
                series = f"{chosen[kind].identity.series_index}{f' and {post.series_index}' if post else ''}"
                replaced.append(
                    f"{name} {kind}: {len(same)} results; the page states series {series}, the latest with "
                    "values."
                )
        found.append(Position(name, chosen))
    return tuple(found), tuple(replaced)


def choose(found: Sequence[Position]) -> tuple[Position, ...]:
    """Return the positions whose maps are shown: all of few, else the middle one of each level or third."""
    if len(found) <= SHOWN:
        return tuple(found)
    groups = [[each for each in found if _level(each.maps.values()) is level] for level in _LEVELS[:3]]
    if not all(groups):
        groups = [list(part) for part in np.array_split(np.array(found, dtype=object), SHOWN)]
    return tuple(group[(len(group) - 1) // 2] for group in groups)


def pooled(found: Iterable[Position], kind: Kind) -> dict[int, RegionValue] | None:
    """Return the value of each AHA segment, or None without any.

    A segment that several slices show has the mean of their medians, by area in mm2; then it has no spread,
    and a z-score only where all slices have one: their mean, likewise.
    """
    by_number: dict[int, list[tuple[RegionValue, float]]] = {}
    for shown in (each.maps[kind] for each in found if kind in each.maps):
        for region in shown.regions:
            number = segment_number(region.name)
            if number is not None and region.value is not None:
                area = region.pixels * shown.pixel_mm2
                by_number.setdefault(number, []).append((region, area))
    return {number: _pool(regions) for number, regions in sorted(by_number.items())} or None


def doubtful(found: Iterable[Position], kind: Kind) -> frozenset[int]:
    """Return the numbers of the AHA segments to which a slice whose contours need review contributes."""
    maps = (each.maps[kind] for each in found if kind in each.maps)
    flagged = (each for each in maps if Flag.REVIEW in each.flags)
    names = (region.name for each in flagged for region in each.regions if region.value is not None)
    return frozenset(number for name in names if (number := segment_number(name)) is not None)


def _pool(measured: Sequence[tuple[RegionValue, float]]) -> RegionValue:
    """Return the mean of regions by their areas, mm2."""
    regions, areas = [each for each, _ in measured], [area for _, area in measured]
    if len(regions) == 1:
        return regions[0]
    values = [each.value for each in regions if each.value is not None]
    scores = [each.z_score for each in regions if each.z_score is not None]
    score = float(np.average(scores, weights=areas)) if len(scores) == len(regions) else None
    return RegionValue(
        regions[0].name,
        float(np.average(values, weights=areas)),
        None,
        sum(each.pixels for each in regions),
        score,
    )


def _by_position(maps: Sequence[ReportMap]) -> list[list[ReportMap]]:
    """Return the maps of each position, from base to apex as far as the levels state it."""
    groups = [group for each in stacks(maps) for group in (reversed(each) if _falls(each) else each)]
    # Stable: within a level the order along the stack remains.
    return sorted(groups, key=lambda group: _LEVELS.index(_level(group)))


def _falls(groups: Sequence[Sequence[ReportMap]]) -> bool:
    """Return whether positions run from the apex to the base."""
    known = [_LEVELS.index(level) for each in groups if (level := _level(each)) is not SliceLevel.UNKNOWN]
    if len(set(known)) > 1:
        return known[0] > known[-1]
    indices = [min(each.identity.slice_index for each in group) for group in groups]
    return bool(indices) and indices[0] > indices[-1]


def _level(maps: Iterable[ReportMap]) -> SliceLevel:
    """Return the level that the latest of the maps has: more slices were known by then."""
    known = [each for each in maps if each.level is not SliceLevel.UNKNOWN]
    if not known:
        return SliceLevel.UNKNOWN
    moments = unwrapped([each.identity.time_stamp for each in known])
    return known[max(range(len(known)), key=lambda number: (moments[number], number))].level


def _names(groups: Sequence[Sequence[ReportMap]]) -> list[str]:
    """Return a distinct name for each position."""
    indices = [min(each.identity.slice_index for each in group) for group in groups]
    distinct = len(set(indices)) == len(indices)
    names = []
    for number, (group, index) in enumerate(zip(groups, indices, strict=True)):
        level = _level(group)
        unknown = f"slice {index if distinct else number}"
        names.append(unknown if level is SliceLevel.UNKNOWN else level.value)
    several, seen = Counter(names), Counter[str]()
    for place, name in enumerate(names):
        if several[name] > 1:
            seen[name] += 1
            names[place] = f"{name} {seen[name]}"
    return [name.capitalize() for name in names]


def _title(kinds: Sequence[Kind]) -> str:
    words = []
    for word, own in (
        ("T1", {Kind.T1_NATIVE, Kind.T1, Kind.T1_POST}),
        ("T2", {Kind.T2}),
        ("ECV", {Kind.ECV}),
    ):
        if own & set(kinds):
            words.append(word)
    listed = " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return f"{listed or 'T1 and T2'} mapping of the left ventricle"


def _facts(maps: Sequence[ReportMap], info: ExaminationInfo) -> tuple[tuple[str, str], ...]:
    sequences = dict.fromkeys(
        text for each in maps if (text := clean(each.identity.description)) and each.haematocrit is None
    )
    strengths = dict.fromkeys(each.field_strength for each in maps if each.field_strength)
    tesla = ", ".join(
        f"{each:.3g} T" for each in ([info.field_strength] if info.field_strength else strengths)
    )
    return (
        ("Examination", clean(info.protocol) or "protocol not stated"),
        ("Date", " ".join(filter(None, (clean(info.date), clean(info.time)))) or "not stated"),
        ("Scanner", ", ".join(filter(None, (clean(info.system), tesla))) or "not stated"),
        ("Sequences", ", ".join(sequences) or "not stated"),
    )


def _slice_rows(found: Iterable[Position], kinds: Sequence[Kind]) -> Iterable[Row]:
    for each in found:
        regions = {
            kind: {region.name: region for region in chosen.regions} for kind, chosen in each.maps.items()
        }
        place = each.name
        middle = any(own.get(MID_SEPTUM) for own in regions.values())
        for name in ("global", MID_SEPTUM if middle else "septum"):
            cells = tuple(_cell(regions.get(kind, {}).get(name), kind) for kind in kinds)
            # A position without any value has a row all the same: nothing that was measured is left out.
            if name == "global" or any(cell.text != NOTHING for cell in cells):
                yield Row(place, name, cells)
                place = ""


def _segment_rows(found: Sequence[Position], kinds: Sequence[Kind]) -> Iterable[Row]:
    """Yield the medians of the segments 1 to 16 of each kind, and under them the z-scores, if any."""
    for kind in kinds:
        segments = pooled(found, kind)
        if segments is None:
            continue
        numbered = [segments.get(number) for number in range(1, 17)]
        yield Row(kind.short, "", tuple(_cell(each, kind, value_alone=True) for each in numbered))
        if any(each and each.z_score is not None for each in numbered):
            yield Row("", "z", tuple(_score(each) for each in numbered))


def _cell(region: RegionValue | None, kind: Kind, *, value_alone: bool = False) -> Cell:
    """Return median, SD and z-score of a region as text, or the median alone."""
    if region is None or region.value is None:
        return Cell(NOTHING)
    text = printed(region.value, kind.digits)
    if region.spread is not None and not value_alone:
        text += f" ± {printed(region.spread, kind.digits)}"
    if region.z_score is not None and not value_alone:
        text += f" ({printed(region.z_score, 1, '+')})"
    return Cell(text, unusual(region))


def _score(region: RegionValue | None) -> Cell:
    if region is None or region.z_score is None:
        return Cell(NOTHING)
    return Cell(printed(region.z_score, 1, "+"), unusual(region))


def unusual(region: RegionValue) -> bool:
    """Return whether a value is far from the site's normal ones."""
    return region.z_score is not None and abs(region.z_score) >= UNUSUAL


def _caption(found: Sequence[Position], kinds: Sequence[Kind], eyes: Sequence[BullsEye]) -> str:
    parts = ["Median ± SD over the pixels"]
    every = [each.maps[kind] for each in found for kind in kinds if kind in each.maps]
    if any(region.z_score is not None for each in every for region in each.regions):
        parts.append(f"z-score by the site's reference in brackets, bold from {UNUSUAL:g}")
    numbers = Counter(
        (each.kind, region.name) for each in every for region in each.regions if segment_number(region.name)
    )
    if any(count > 1 for count in numbers.values()):
        parts.append("segments of several slices: mean of their medians by area")
    if any(eye.doubtful for eye in eyes):
        parts.append("?: from a slice whose contours need review")
    return "; ".join(parts) + "."


def _no_segments(maps: Sequence[ReportMap]) -> str:
    if not any(each.regions for each in maps):
        return "No AHA segments: no map has contours with values."
    if all(Flag.CUT_OFF in each.flags for each in maps if each.regions):
        return "No AHA segments: the heart is cut off."
    if all(each.level is SliceLevel.UNKNOWN for each in maps if each.regions):
        return "No AHA segments: the level of the slices is not known."
    return "No AHA segments: the direction of the septum is not known."


def _findings(found: Sequence[Position]) -> Iterable[str]:
    """Yield errors, then flags in words, then notes, each once with the maps that it concerns.

    Of the notes, those on regions without a value come first, and then those that state why a confidence is
    low: others may have no room on the page.
    What ECV only takes over from its slices is stated of these alone.
    """
    maps = [(each, kind, chosen) for each in found for kind, chosen in each.maps.items()]
    errors, flags = [], []
    missing: list[tuple[str, tuple[Kind, str]]] = []
    reasons: list[tuple[str, tuple[Kind, str]]] = []
    notes: list[tuple[str, tuple[Kind, str]]] = []
    for position, kind, chosen in maps:
        where = (kind, position.name)
        taken = _of_slices(position) if kind in (Kind.ECV, Kind.PARTITION) else frozenset()
        errors += [(clean(chosen.error), where)] if chosen.error else []
        flags += [(flag, where) for flag in dict.fromkeys(chosen.flags) if flag not in taken]
        own = (each for each in dict.fromkeys(chosen.notes) if not (taken and each.startswith(SLICE_FLAGS)))
        for note in own:
            reason = reasons if note == chosen.confidence_reason else notes
            (missing if note.startswith(NO_VALUE) else reason).append((clean(note), where))
    number = Counter(kind for _, kind, _ in maps)
    for text, bearers in _gathered(errors).items():
        yield f"{_where(bearers, number)}: error: {text}"
    for flag, bearers in sorted(_gathered(flags).items(), key=lambda pair: importance(pair[0])):
        yield f"{_where(bearers, number)}: {sentence(flag)}"
    for text, bearers in _gathered((*missing, *reasons, *notes)).items():
        yield f"{_where(bearers, number)}: note: {text}"


def _of_slices(position: Position) -> frozenset[str]:
    """Return the flags of the T1 slices of a position."""
    return frozenset(
        flag
        for kind in (Kind.T1_NATIVE, Kind.T1, Kind.T1_POST)
        if kind in position.maps
        for flag in position.maps[kind].flags
    )


def _where(bearers: Sequence[tuple[Kind, str]], number: Counter[Kind]) -> str:
    """Return the maps of a finding in words, by kind."""
    if len(bearers) == number.total() > 1:
        return "All maps"
    parts = []
    for kind in dict.fromkeys(kind for kind, _ in bearers):
        names = [name for each, name in bearers if each is kind]
        every = len(names) == number[kind] > 1
        parts.append(f"{kind.short}, all" if every else f"{kind.short} {', '.join(names).lower()}")
    return "; ".join(parts)


def _gathered(pairs: Iterable[tuple[str, tuple[Kind, str]]]) -> dict[str, list[tuple[Kind, str]]]:
    """Return the maps by text, in the order of the texts."""
    maps: dict[str, list[tuple[Kind, str]]] = {}
    for text, bearer in pairs:
        maps.setdefault(text, []).append(bearer)
    return maps


def _provenance(maps: Sequence[ReportMap], info: ExaminationInfo) -> tuple[tuple[str, str], ...]:
    haematocrits = dict.fromkeys(each.haematocrit for each in maps if each.haematocrit is not None)
    references = dict.fromkeys(clean(each.reference) for each in maps if each.reference)
    calibrated = (_WEIGHTS.search(each.confidence_source) for each in maps)
    weights = [info.weights[:12]] if info.weights else dict.fromkeys(each[1] for each in calibrated if each)
    network = ", ".join(filter(None, (*(f"weights {each}" for each in weights), info.engine)))
    rows = [
        ("Software", f"myostream {software_version()}"),
        ("Network", network or "not stated"),
        ("Contours", _convention(maps) or "none"),
        ("Corrections", "; ".join(_corrections(maps)) or "none"),
        ("Reference", "; ".join(references) or "none: no z-scores"),
    ]
    if haematocrits:
        stated = (f"{each.value:.3g} ({_HAEMATOCRIT_SOURCE[each.source]})" for each in haematocrits)
        rows.append(("Haematocrit", "; ".join(stated)))
    elif any(each.kind is Kind.PARTITION for each in maps):
        rows.append(("Haematocrit", "not given"))
    return tuple(rows)


def _convention(maps: Iterable[ReportMap]) -> str:
    """Return the contour convention as it was applied to most maps, and the number of the others."""
    applied = Counter(each.offsets for each in maps if each.offsets is not None)
    if not applied:
        return ""
    (usual, number), *_ = applied.most_common(1)
    text = f"{usual.endo_mm:.3g} mm (endo), {usual.epi_mm:.3g} mm (epi) inside the wall's borders"
    others = applied.total() - number
    return f"{text}; other distances in {others} maps" if others else text


def _corrections(maps: Iterable[ReportMap]) -> Iterable[str]:
    """Yield scaling and motion correction of the maps, each with the number of maps."""
    fitted = [each for each in maps if each.kind not in (Kind.ECV, Kind.PARTITION)]
    scales = dict.fromkeys(each.t1_scale for each in fitted if each.t1_scale != 1.0)
    yield from (f"T1 x {scale:g}" for scale in scales)
    for words, number in (
        ("maps by the scanner", sum(each.scanner_made for each in fitted)),
        ("motion corrected by the scanner", sum(each.motion_corrected for each in fitted)),
        ("motion corrected by myostream", sum(Flag.CORRECTED in each.flags for each in fitted)),
    ):
        if number:
            yield f"{words}: {number} of {len(fitted)}"
