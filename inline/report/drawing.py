"""Drawing of a page: its parts on the sheet, maps, bull's-eyes and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final

import numpy as np

from inline.emit.record import printed
from inline.report.colours import MAP_WINDOWS, SEGMENT_WINDOWS, colour_map, norm
from inline.report.content import DISCLAIMER, BullsEye, Cell, Page, Row, unusual
from inline.report.maps import CHEST_MM, HEART_MM, Kind, ReportMap, Section
from inline.report.sheet import BODY, FAINT, HEIGHT, SMALL, TITLE, WARNING, WIDTH, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARGIN: Final = 0.35
_COLUMN_MOST: Final = 1.6
"""Largest width of a column of the table, inches."""
_LEAST: Final = 6.5
"""Smallest size of a table with many rows."""
_LINE: Final = 1.32
"""Distance of lines over the size of the text."""
_TILE_MOST: Final = 2.3
"""Largest side of a map, inches."""
_MAPS_RIGHT: Final = 5.4
"""Furthest right edge of the maps, inches."""
_EYE_MOST, _EYE_LEAST, _MANY_ROWS = 1.95, 1.35, 14
"""Diameter of a bull's-eye, inches; the smaller one above a table of more rows than that."""
_LOWER: Final = 6.55
"""Top of the findings, inches."""
_NOT_MEASURED: Final = (0.93, 0.93, 0.93, 1.0)
_RINGS: Final = ((1.0, 0.7), (0.7, 0.4), (0.4, 0.06))
"""Outer and inner radius of the basal, mid-ventricular and apical segments."""
_EYE_EDGE: Final = 1.03
"""Half the side of the axes of a bull's-eye, in the same unit."""
_INWARDS: Final = 0.65
"""Share of a segment's inner radius to which its value may reach; further in are those of the next ring."""
_LEAST_VALUE: Final = 4.5
"""Size below which a value in a bull's-eye reaches over the inner border of its segment instead, points."""
_DIGIT: Final = 0.73
"""Height of a digit over the size of its font."""


def check_extra() -> None:
    """Check that the extra ``report`` is installed.

    Raises:
        ImportError: it is not; cmcrameri is named first, which comes with this extra alone.
    """
    for module in ("cmcrameri", "matplotlib"):
        import_module(module)


def draw(page: Page) -> Figure:
    """Return the page as a figure of A4, landscape.

    Raises:
        ImportError: matplotlib or cmcrameri is not installed (extra ``report``).
    """
    check_extra()
    sheet = Sheet()
    top = _header(sheet, page)
    left = _maps(sheet, page, top) + 0.3
    y = _bulls_eyes(sheet, page, left, top)
    _tables(sheet, page, left, y)
    _lower_band(sheet, page)
    return sheet.figure


def _header(sheet: Sheet, page: Page) -> float:
    """Draw title and facts; return where the rest begins."""
    right = WIDTH - _MARGIN
    sheet.write(_MARGIN, 0.55, page.title, TITLE, bold=True)
    sheet.write(right, 0.55, DISCLAIMER, BODY + 1, bold=True, colour=WARNING, align="right")
    sheet.rule(_MARGIN, 0.66, right - _MARGIN, thick=True)
    widths = (2.6, 1.6, 2.1, 4.69)
    x = _MARGIN
    for (name, value), width in zip(page.facts, widths, strict=True):
        sheet.write(x, 0.82, name, SMALL, colour=FAINT)
        sheet.write(x, 1.0, sheet.fitted(value, width - 0.15, BODY + 1), BODY + 1)
        x += width
    sheet.rule(_MARGIN, 1.1, right - _MARGIN)
    return 1.2


def _maps(sheet: Sheet, page: Page, top: float) -> float:
    """Draw the grid of maps: a row for each kind with its colour bar, a column for each position.

    Returns:
        Its right end.
    """
    left, gap, bar, head = _MARGIN + 0.25, 0.05, 0.5, 0.22
    if not page.kinds:
        sheet.write(_MARGIN, top + 0.3, "No map.", BODY + 1, colour=FAINT)
        return _MARGIN + 2.0
    room_x = (_MAPS_RIGHT - bar - left) / len(page.columns) - gap
    room_y = (_LOWER - (0.37 if page.legend else 0.25) - top - head) / len(page.kinds) - gap
    side = min(room_x, room_y, _TILE_MOST)
    scale_mm = _side_mm(page)
    for number, position in enumerate(page.columns):
        x = left + number * (side + gap)
        name = sheet.fitted(position.name, side, BODY + 0.5, bold=True)
        sheet.write(x + side / 2, top + 0.14, name, BODY + 0.5, bold=True, align="center")
    for line, kind in enumerate(page.kinds):
        y = top + head + line * (side + gap)
        sheet.figure.text(
            (left - 0.1) / WIDTH,
            1.0 - (y + side / 2) / HEIGHT,
            sheet.fitted(_titled(kind), side, BODY, bold=True),
            fontproperties=sheet.font(BODY, bold=True),
            rotation=90,
            ha="center",
            va="center",
        )
        for number, position in enumerate(page.columns):
            axes = sheet.axes(left + number * (side + gap), y, side, side)
            _map(sheet, axes, position.maps.get(kind), scale_mm)
        x = left + len(page.columns) * (side + gap) + 0.03
        sheet.colour_bar(x, y + 0.06, 0.11, side - 0.12, kind, MAP_WINDOWS[kind])
    y = top + head + len(page.kinds) * (side + gap) + 0.1
    scale = f"All maps: {scale_mm:.0f} mm wide. Black: no value. + RV insertion points."
    for number, text in enumerate(filter(None, (scale, page.legend))):
        sheet.write(_MARGIN, y + 0.12 * number, text, SMALL - 0.5, colour=FAINT)
    return x + bar


def _side_mm(page: Page) -> float:
    """Return the side of the square that every map shows, mm."""
    sections = [
        each.section
        for position in page.columns
        for each in position.maps.values()
        if each.section is not None
    ]
    hearts = [
        float(max(np.array(section.values.shape[::-1]) * section.spacing))
        for section in sections
        if section.contours is not None
    ]
    return CHEST_MM if sections and not hearts else max([HEART_MM, *hearts])


def _map(sheet: Sheet, axes: Axes, shown: ReportMap | None, side_mm: float) -> None:
    """Draw one map with its contours in white, or the reason why there is none."""
    from matplotlib import patheffects

    axes.set_facecolor("#000000" if shown is not None and shown.section is not None else "#ededed")
    for spine in axes.spines.values():
        spine.set_visible(False)
    if shown is None or shown.section is None:
        text = "not acquired" if shown is None else "no map"
        axes.text(
            0.5, 0.5, text, fontproperties=sheet.font(SMALL), color=FAINT, ha="center", va="center",
            transform=axes.transAxes,
        )  # fmt: skip
        return
    section, kind = shown.section, shown.kind
    rows, columns = section.values.shape
    width, height = section.spacing
    axes.imshow(
        np.ma.masked_invalid(section.values),
        cmap=colour_map(kind),
        norm=norm(kind, MAP_WINDOWS[kind]),
        extent=(-width / 2, (columns - 0.5) * width, (rows - 0.5) * height, -height / 2),
        interpolation="bilinear",
    )
    centre = _centre(section)
    axes.set_xlim(centre[0] - side_mm / 2, centre[0] + side_mm / 2)
    axes.set_ylim(centre[1] + side_mm / 2, centre[1] - side_mm / 2)
    dark = [patheffects.withStroke(linewidth=1.9, foreground="#00000090")]
    if section.contours is not None:
        for points in (section.contours.endo, section.contours.epi):
            closed = np.vstack([points, points[:1]]) * section.spacing
            axes.plot(*closed.T, color="white", linewidth=0.9, path_effects=dark)
    for point in section.points:
        axes.plot(*(np.array(point) * section.spacing), "+", color="white", markersize=5, path_effects=dark)
    if shown.section.contours is None:
        axes.text(
            0.5, 0.04, "no contours", fontproperties=sheet.font(SMALL), color="white", ha="center",
            va="bottom", transform=axes.transAxes, path_effects=dark,
        )  # fmt: skip


def _centre(section: Section) -> tuple[float, float]:
    """Return the middle of the heart, or of the part without contours, mm."""
    if section.contours is None:
        rows, columns = section.values.shape
        return (columns - 1) / 2 * section.spacing[0], (rows - 1) / 2 * section.spacing[1]
    x, y = (section.contours.epi.min(axis=0) + section.contours.epi.max(axis=0)) / 2 * section.spacing
    return float(x), float(y)


def _bulls_eyes(sheet: Sheet, page: Page, left: float, top: float) -> float:
    """Draw the bull's-eyes side by side; return where the tables begin."""
    width = WIDTH - _MARGIN - left
    if not page.bulls_eyes:
        sheet.write(left, top + 0.14, page.no_segments, BODY, colour=FAINT)
        return top + 0.35
    most = _EYE_MOST if len(page.slices) <= _MANY_ROWS else _EYE_LEAST
    each = min(width / len(page.bulls_eyes), most + 0.25)
    side = min(each - 0.15, most)
    for number, eye in enumerate(page.bulls_eyes):
        x = left + number * each
        sheet.write(x + side / 2, top + 0.14, _titled(eye.kind), BODY + 0.5, bold=True, align="center")
        _bulls_eye(sheet, sheet.axes(x, top + 0.2, side, side), eye, side)
        window = SEGMENT_WINDOWS[eye.kind]
        sheet.colour_bar(x + 0.1, top + 0.25 + side, side - 0.2, 0.08, eye.kind, window)
    return top + 0.6 + side


def _bulls_eye(sheet: Sheet, axes: Axes, eye: BullsEye, side: float) -> None:
    """Draw the 16 segments (Cerqueira et al. 2002) with their values: base outside, anterior wall above.

    ``side`` is the size of the axes, inches.
    """
    from matplotlib.patches import Circle, Wedge

    window = SEGMENT_WINDOWS[eye.kind]
    colours, scale = colour_map(eye.kind), norm(eye.kind, window)
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-_EYE_EDGE, _EYE_EDGE)
    axes.set_ylim(-_EYE_EDGE, _EYE_EDGE)
    for number in range(1, 17):
        ring = (number > 6) + (number > 12)
        outer, inner = _RINGS[ring]
        start, span = segment_angles(number)
        region = eye.segments.get(number)
        value = None if region is None else region.value
        fill = _NOT_MEASURED if value is None else colours(float(scale(value)))
        axes.add_patch(
            Wedge(
                (0, 0),
                outer,
                start,
                start + span,
                width=outer - inner,
                facecolor=fill,
                edgecolor="white",
                linewidth=0.8,
            )
        )
        if region is None or value is None:
            continue
        middle, radius = math.radians(start + span / 2), (outer + inner) / 2
        light = np.dot(fill[:3], (0.2126, 0.7152, 0.0722)) > 0.45
        marked = unusual(region)
        text = printed(value, eye.kind.digits) + "*" * marked + "?" * (number in eye.doubtful)
        x, y, size = radius * math.cos(middle), radius * math.sin(middle), SMALL * side / _EYE_MOST
        # The rim at the height of its corners, which half of its width may reach from its middle.
        unit = side / (2 * _EYE_EDGE)
        rim = math.sqrt(outer**2 - (abs(y) + size / 72 * _DIGIT / 2 / unit) ** 2)
        width = sheet.width(text, size, bold=marked) / unit
        least = min(width * _LEAST_VALUE / size, rim - _INWARDS * inner)
        room = max(2 * (rim - abs(x)), least)
        size *= min(1.0, room / width)
        x = math.copysign(min(abs(x), rim - min(width, room) / 2), x)
        axes.text(
            x,
            y,
            text,
            fontproperties=sheet.font(size, bold=marked),
            color="black" if light else "white",
            ha="center",
            va="center",
        )
    axes.add_patch(Circle((0, 0), _RINGS[-1][1], facecolor="white", edgecolor="none"))


def segment_angles(number: int) -> tuple[float, float]:
    """Return where an AHA segment begins in the bull's-eye, and its angle: degrees anticlockwise from +x.

    The anterior wall is above, the septum to the left: numbers rise anticlockwise from the anterior segment.
    """
    if number <= 12:
        return 60.0 + 60.0 * ((number - 1) % 6), 60.0
    return 45.0 + 90.0 * (number - 13), 90.0


def _tables(sheet: Sheet, page: Page, left: float, top: float) -> None:
    """Write the table of the slices, and that of the segments where there is room for it."""
    if not page.kinds:
        return
    width, room, names = WIDTH - _MARGIN - left, _LOWER - 0.1 - top, 1.55
    heads, more_heads = 3.2, 1.9  # lines of a heading with its rule, of the caption, and between both tables
    segments = page.segments
    lines = len(page.slices) + heads
    if segments and (lines + len(segments) + more_heads) * SMALL * _LINE / 72 <= room:
        lines += len(segments) + more_heads
    else:
        segments = ()
    size = min(BODY, max(_LEAST, room / lines * 72 / _LINE))
    height = size * _LINE / 72
    shown = page.slices[: int(room / height - heads)]
    heading = Row("", "", tuple(Cell(_titled(kind), marked=True) for kind in page.kinds))
    narrow = min(width, names + _COLUMN_MOST * len(page.kinds))
    y = _rows(sheet, [heading, *shown], left, top, size, names, narrow)
    if segments:
        heading = Row("AHA segment", "", tuple(Cell(str(number), marked=True) for number in range(1, 17)))
        y = _rows(sheet, [heading, *segments], left, y + height * 0.5, size, 1.1, width)
    caption = page.caption
    if more := len(page.slices) - len(shown):
        caption = f"{more} further rows are in the records alone. {caption}"
    for number, line in enumerate(sheet.wrapped(caption, width, SMALL - 0.5)):
        sheet.write(left, y + 0.15 + 0.12 * number, line, SMALL - 0.5, colour=FAINT)


def _rows(
    sheet: Sheet, rows: Sequence[Row], x: float, y: float, size: float, names: float, width: float
) -> float:
    """Write a heading and rows, numbers at the right of their columns; return where they end.

    Texts that are wider than their column are printed smaller.
    """
    height, column = size * _LINE / 72, (width - names) / len(rows[0].cells)
    widest = max(sheet.width(cell.text, size, bold=cell.marked) for row in rows for cell in row.cells)
    inside = size * min(1.0, (column - 0.05) / widest)
    place = 0.0 if all(not row.region for row in rows) else 0.72
    for number, row in enumerate(rows):
        y += height
        room = names if not row.region else place - 0.05
        sheet.write(x, y, sheet.fitted(row.place, room, size, bold=True), size, bold=True)
        sheet.write(x + place, y, sheet.fitted(row.region, names - place, size), size)
        for cell, right in zip(row.cells, np.arange(1, len(row.cells) + 1) * column + names, strict=True):
            sheet.write(x + float(right), y, cell.text, inside, bold=cell.marked, align="right")
        if number == 0:
            y += height * 0.3
            sheet.rule(x, y, width)
            y += height * 0.1
    return y


def _titled(kind: Kind) -> str:
    """Return the short name of a kind with its unit."""
    return f"{kind.short}, {kind.unit}" if kind.unit else kind.short


def _lower_band(sheet: Sheet, page: Page) -> None:
    """Write findings on the left and provenance on the right."""
    split, right, bottom = 7.55, WIDTH - _MARGIN, HEIGHT - 0.3
    sheet.rule(_MARGIN, _LOWER, right - _MARGIN, thick=True)
    sheet.write(_MARGIN, _LOWER + 0.2, "Findings of the processing", BODY + 0.5, bold=True)
    width = split - 0.3 - _MARGIN
    if not page.findings:
        sheet.write(_MARGIN, _LOWER + 0.4, "No flags, no errors.")
    for size in (BODY, SMALL):
        height = size * _LINE / 72
        lines, left = _listed(sheet, page.findings, width, size, int((bottom - _LOWER - 0.25) / height))
        if not left:
            break
    if left:
        lines.append(f"{left} further findings: see the records of the results.")
    for number, line in enumerate(lines):
        sheet.write(_MARGIN, _LOWER + 0.25 + (number + 1) * height, line, size)
    height = BODY * _LINE / 72
    sheet.write(split, _LOWER + 0.2, "Provenance", BODY + 0.5, bold=True)
    y, start = _LOWER + 0.25, 0.88
    for name, value in page.provenance:
        y += height
        sheet.write(split, y, name, SMALL, colour=FAINT)
        for number, line in enumerate(sheet.wrapped(value, right - split - start, SMALL)[:2]):
            y += height * 0.9 * (number > 0)
            sheet.write(split + start, y, line, SMALL)


def _listed(
    sheet: Sheet, texts: Sequence[str], width: float, size: float, most: int
) -> tuple[list[str], int]:
    """Return the lines of a list, at most so many, and how many texts had no room; then a line is free."""
    lines: list[str] = []
    for place, text in enumerate(texts):
        own = sheet.wrapped(text, width - 0.15, size)
        left = len(texts) - place
        if len(lines) + len(own) > most - (left > 1):
            return lines[: most - 1], left
        lines += [f"• {own[0]}", *(f"   {line}" for line in own[1:])] if own else []
    return lines, 0
