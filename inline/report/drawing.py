"""Drawing of a page with matplotlib, without its global state: safe in any thread, needs no display."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from inline.report.colours import MAP_WINDOWS, SEGMENT_WINDOWS, Window, colour_map, norm
from inline.report.content import DISCLAIMER, BullsEye, Cell, Page, Row, unusual
from inline.report.maps import CHEST_MM, HEART_MM, Kind, ReportMap, Section
from inline.report.wording import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

WIDTH, HEIGHT = 11.69, 8.27
"""A4 landscape, inches: consoles are wider than high."""
_MARGIN: Final = 0.35
_INK, _FAINT, _RULE, _WARNING = "#111111", "#555555", "#9a9a9a", "#8a1c1c"
_BODY, _SMALL, _TITLE = 8.5, 7.5, 16.0
"""Sizes of the text, points."""
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
_FURTHER_FONTS: Final = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Noto Sans", "WenQuanYi Zen Hei",
    "IPAexGothic", "Droid Sans Fallback", "FreeSans", "Unifont",
)  # fmt: skip
"""Fonts for scripts that DejaVu Sans, which comes with matplotlib, does not have."""
_HINTING: Final = 1.02
"""Width of a text at any resolution over that at the resolution of its measurement, at most."""
_LONGEST: Final = 4000
"""Characters of a text that are measured: more than have room on a page, so that a longer one is shortened or
counted all the same."""
_MISSING: Final = "\u25a1"
"""Replacement of a character that no font has."""
_NOT_MEASURED: Final = (0.93, 0.93, 0.93, 1.0)
_RINGS: Final = ((1.0, 0.7), (0.7, 0.4), (0.4, 0.06))
"""Outer and inner radius of the basal, mid-ventricular and apical segments."""


class _Fonts(NamedTuple):
    """Names of the installed fonts in the order of use, and the code points that they have."""

    names: tuple[str, ...]
    characters: frozenset[int]


@cache
def _fonts() -> _Fonts:
    """Return the fonts that are there, and the characters that they have."""
    from matplotlib.font_manager import fontManager, get_font

    there = {each.name: each.fname for each in fontManager.ttflist}
    names = ("DejaVu Sans", *(name for name in _FURTHER_FONTS if name in there))
    files = [there[name] for name in names if name in there]
    return _Fonts(names, frozenset().union(*(get_font(file).get_charmap() for file in files)))


class _Sheet:
    """Page to write on; places are inches from its upper left corner."""

    def __init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(WIDTH, HEIGHT), dpi=100, facecolor="white")
        self._renderer = FigureCanvasAgg(self.figure).get_renderer()  # type: ignore[no-untyped-call]

    def font(self, size: float, *, bold: bool = False) -> FontProperties:
        """Return a font of a size in points."""
        from matplotlib.font_manager import FontProperties

        return FontProperties(family=list(_fonts().names), size=size, weight="bold" if bold else "normal")

    def width(self, text: str, size: float, *, bold: bool = False) -> float:
        """Return the width of a text, inches."""
        width, _, _ = self._renderer.get_text_width_height_descent(
            text, self.font(size, bold=bold), ismath=False
        )
        return float(width) / 100.0 * _HINTING

    def fitted(self, text: str, width: float, size: float, *, bold: bool = False) -> str:
        """Return a text that is no wider than that, with an ellipsis where it was shortened."""
        text = _printable(text)
        if self.width(text, size, bold=bold) <= width:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self.width(text[:middle].rstrip() + " …", size, bold=bold) <= width:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip() + " …"

    def wrapped(self, text: str, width: float, size: float) -> list[str]:
        """Return the lines of a text; a word that is wider than a line is broken."""
        lines, line = [], ""
        for word in _printable(text).split():
            longer = f"{line} {word}" if line else word
            if self.width(longer, size) <= width:
                line = longer
                continue
            lines += [line] if line else []
            while (wide := self.width(word, size)) > width:
                cut = max(1, int(len(word) * width / wide))
                while cut > 1 and self.width(word[:cut], size) > width:
                    cut = max(1, int(cut * 0.9))
                lines.append(word[:cut])
                word = word[cut:]
            line = word
        return [*lines, line] if line else lines

    def write(
        self,
        x: float,
        y: float,
        text: str,
        size: float = _BODY,
        *,
        bold: bool = False,
        colour: str = _INK,
        align: str = "left",
    ) -> None:
        """Write one line; ``y`` is its base line."""
        self.figure.text(
            x / WIDTH,
            1.0 - y / HEIGHT,
            _printable(text),
            fontproperties=self.font(size, bold=bold),
            color=colour,
            ha=align,
            va="baseline",
            parse_math=False,
        )

    def rule(self, x: float, y: float, width: float, *, thick: bool = False) -> None:
        """Draw a horizontal line."""
        from matplotlib.lines import Line2D

        at = 1.0 - y / HEIGHT
        ends = [x / WIDTH, (x + width) / WIDTH]
        self.figure.add_artist(
            Line2D(ends, [at, at], color=_INK if thick else _RULE, linewidth=1.2 if thick else 0.5)
        )

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Return axes without ticks; ``y`` is their upper end."""
        box = (x / WIDTH, 1.0 - (y + height) / HEIGHT, width / WIDTH, height / HEIGHT)
        made = self.figure.add_axes(box)
        made.set_xticks([])
        made.set_yticks([])
        return made

    def colour_bar(self, x: float, y: float, width: float, height: float, kind: Kind, window: Window) -> None:
        """Draw the colours of a window, with the values at both ends and between."""
        from matplotlib.cm import ScalarMappable

        axes = self.axes(x, y, width, height)
        upright = height > width
        bar = self.figure.colorbar(
            ScalarMappable(norm(kind, window), colour_map(kind)),
            cax=axes,
            orientation="vertical" if upright else "horizontal",
            ticks=list(_ticks(window)),
        )
        digits = 2 if kind is Kind.PARTITION else 0
        bar.ax.minorticks_off()
        labels = [f"{each:.{digits}f}" for each in _ticks(window)]
        (bar.ax.set_yticklabels if upright else bar.ax.set_xticklabels)(
            labels, fontproperties=self.font(_SMALL - 0.5)
        )
        bar.ax.tick_params(length=2, pad=1.5, width=0.5)
        bar.outline.set_linewidth(0.5)


def check_extra() -> None:
    """Check that the extra ``report`` is installed.

    Raises:
        ImportError: it is not; cmcrameri is named, which comes with this extra alone.
    """
    import_module("cmcrameri")


def draw(page: Page) -> Figure:
    """Return the page as a figure of A4, landscape.

    Raises:
        ImportError: matplotlib or cmcrameri is not installed (extra ``report``).
    """
    check_extra()
    sheet = _Sheet()
    top = _header(sheet, page)
    left = _maps(sheet, page, top) + 0.3
    y = _bulls_eyes(sheet, page, left, top)
    _tables(sheet, page, left, y)
    _lower_band(sheet, page)
    return sheet.figure


def _header(sheet: _Sheet, page: Page) -> float:
    """Draw title and facts; return where the rest begins."""
    right = WIDTH - _MARGIN
    sheet.write(_MARGIN, 0.55, page.title, _TITLE, bold=True)
    sheet.write(right, 0.55, DISCLAIMER, _BODY + 1, bold=True, colour=_WARNING, align="right")
    sheet.rule(_MARGIN, 0.66, right - _MARGIN, thick=True)
    widths = (2.6, 1.6, 2.1, 4.69)
    x = _MARGIN
    for (name, value), width in zip(page.facts, widths, strict=True):
        sheet.write(x, 0.82, name, _SMALL, colour=_FAINT)
        sheet.write(x, 1.0, sheet.fitted(value, width - 0.15, _BODY + 1), _BODY + 1)
        x += width
    sheet.rule(_MARGIN, 1.1, right - _MARGIN)
    return 1.2


def _maps(sheet: _Sheet, page: Page, top: float) -> float:
    """Draw the grid of maps: a row for each kind with its colour bar, a column for each position.

    Returns:
        Its right end.
    """
    left, gap, bar, head = _MARGIN + 0.25, 0.05, 0.5, 0.22
    if not page.kinds:
        sheet.write(_MARGIN, top + 0.3, "No map.", _BODY + 1, colour=_FAINT)
        return _MARGIN + 2.0
    room_x = (_MAPS_RIGHT - bar - left) / len(page.columns) - gap
    room_y = (_LOWER - (0.37 if page.legend else 0.25) - top - head) / len(page.kinds) - gap
    side = min(room_x, room_y, _TILE_MOST)
    scale_mm = _side_mm(page)
    for number, position in enumerate(page.columns):
        x = left + number * (side + gap)
        name = sheet.fitted(position.name, side, _BODY + 0.5, bold=True)
        sheet.write(x + side / 2, top + 0.14, name, _BODY + 0.5, bold=True, align="center")
    for line, kind in enumerate(page.kinds):
        y = top + head + line * (side + gap)
        sheet.figure.text(
            (left - 0.1) / WIDTH,
            1.0 - (y + side / 2) / HEIGHT,
            sheet.fitted(_titled(kind), side, _BODY, bold=True),
            fontproperties=sheet.font(_BODY, bold=True),
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
        sheet.write(_MARGIN, y + 0.12 * number, text, _SMALL - 0.5, colour=_FAINT)
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


def _map(sheet: _Sheet, axes: Axes, shown: ReportMap | None, side_mm: float) -> None:
    """Draw one map with its contours in white, or the reason why there is none."""
    from matplotlib import patheffects

    axes.set_facecolor("#000000" if shown is not None and shown.section is not None else "#ededed")
    for spine in axes.spines.values():
        spine.set_visible(False)
    if shown is None or shown.section is None:
        text = "not acquired" if shown is None else "no map"
        axes.text(
            0.5, 0.5, text, fontproperties=sheet.font(_SMALL), color=_FAINT, ha="center", va="center",
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
            0.5, 0.04, "no contours", fontproperties=sheet.font(_SMALL), color="white", ha="center",
            va="bottom", transform=axes.transAxes, path_effects=dark,
        )  # fmt: skip


def _centre(section: Section) -> tuple[float, float]:
    """Return the middle of the heart, or of the part without contours, mm."""
    if section.contours is None:
        rows, columns = section.values.shape
        return (columns - 1) / 2 * section.spacing[0], (rows - 1) / 2 * section.spacing[1]
    x, y = (section.contours.epi.min(axis=0) + section.contours.epi.max(axis=0)) / 2 * section.spacing
    return float(x), float(y)


def _bulls_eyes(sheet: _Sheet, page: Page, left: float, top: float) -> float:
    """Draw the bull's-eyes side by side; return where the tables begin."""
    width = WIDTH - _MARGIN - left
    if not page.bulls_eyes:
        sheet.write(left, top + 0.14, page.no_segments, _BODY, colour=_FAINT)
        return top + 0.35
    most = _EYE_MOST if len(page.slices) <= _MANY_ROWS else _EYE_LEAST
    each = min(width / len(page.bulls_eyes), most + 0.25)
    side = min(each - 0.15, most)
    for number, eye in enumerate(page.bulls_eyes):
        x = left + number * each
        sheet.write(x + side / 2, top + 0.14, _titled(eye.kind), _BODY + 0.5, bold=True, align="center")
        _bulls_eye(sheet, sheet.axes(x, top + 0.2, side, side), eye, side)
        window = SEGMENT_WINDOWS[eye.kind]
        sheet.colour_bar(x + 0.1, top + 0.25 + side, side - 0.2, 0.08, eye.kind, window)
    return top + 0.6 + side


def _bulls_eye(sheet: _Sheet, axes: Axes, eye: BullsEye, side: float) -> None:
    """Draw the 16 segments (Cerqueira et al. 2002) with their values: base outside, anterior wall above.

    ``side`` is the size of the axes, inches.
    """
    from matplotlib.patches import Circle, Wedge

    window = SEGMENT_WINDOWS[eye.kind]
    colours, scale = colour_map(eye.kind), norm(eye.kind, window)
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-1.03, 1.03)
    axes.set_ylim(-1.03, 1.03)
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
        axes.text(
            radius * math.cos(middle),
            radius * math.sin(middle),
            f"{value:.{eye.kind.digits}f}" + ("*" if marked else ""),
            fontproperties=sheet.font(_SMALL * side / _EYE_MOST, bold=marked),
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


def _tables(sheet: _Sheet, page: Page, left: float, top: float) -> None:
    """Write the table of the slices, and that of the segments where there is room for it."""
    if not page.kinds:
        return
    width, room, names = WIDTH - _MARGIN - left, _LOWER - 0.1 - top, 1.55
    heads, more_heads = 3.2, 1.9  # lines of a heading with its rule, of the caption, and between both tables
    segments = page.segments
    lines = len(page.slices) + heads
    if segments and (lines + len(segments) + more_heads) * _SMALL * _LINE / 72 <= room:
        lines += len(segments) + more_heads
    else:
        segments = ()
    size = min(_BODY, max(_LEAST, room / lines * 72 / _LINE))
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
    for number, line in enumerate(sheet.wrapped(caption, width, _SMALL - 0.5)):
        sheet.write(left, y + 0.15 + 0.12 * number, line, _SMALL - 0.5, colour=_FAINT)


def _rows(
    sheet: _Sheet, rows: Sequence[Row], x: float, y: float, size: float, names: float, width: float
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


def _lower_band(sheet: _Sheet, page: Page) -> None:
    """Write findings on the left and provenance on the right."""
    split, right, bottom = 7.55, WIDTH - _MARGIN, HEIGHT - 0.3
    sheet.rule(_MARGIN, _LOWER, right - _MARGIN, thick=True)
    sheet.write(_MARGIN, _LOWER + 0.2, "Findings of the processing", _BODY + 0.5, bold=True)
    width = split - 0.3 - _MARGIN
    if not page.findings:
        sheet.write(_MARGIN, _LOWER + 0.4, "No flags, no errors.")
    for size in (_BODY, _SMALL):
        height = size * _LINE / 72
        lines, left = _listed(sheet, page.findings, width, size, int((bottom - _LOWER - 0.25) / height))
        if not left:
            break
    if left:
        lines.append(f"{left} further findings: see the records of the results.")
    for number, line in enumerate(lines):
        sheet.write(_MARGIN, _LOWER + 0.25 + (number + 1) * height, line, size)
    height = _BODY * _LINE / 72
    sheet.write(split, _LOWER + 0.2, "Provenance", _BODY + 0.5, bold=True)
    y, start = _LOWER + 0.25, 0.88
    for name, value in page.provenance:
        y += height
        sheet.write(split, y, name, _SMALL, colour=_FAINT)
        for number, line in enumerate(sheet.wrapped(value, right - split - start, _SMALL)[:2]):
            y += height * 0.9 * (number > 0)
            sheet.write(split + start, y, line, _SMALL)


def _listed(
    sheet: _Sheet, texts: Sequence[str], width: float, size: float, most: int
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


def _ticks(window: Window) -> tuple[float, ...]:
    """Return a few round values within a window, with its ends where they are round."""
    step = (window.high - window.low) / 4
    nice = next(
        (each for each in (0.25, 0.5, 5, 10, 15, 20, 25, 50, 100, 200, 250, 500) if each >= step), step
    )
    inner = np.arange(math.ceil(window.low / nice) * nice, window.high + nice / 2, nice)
    return tuple(float(each) for each in inner if window.low <= each <= window.high)


def _printable(text: str) -> str:
    """Return a text in the characters of the fonts; spaces at its beginning are kept."""
    characters = _fonts().characters
    indent = len(text) - len(text.lstrip(" "))
    shown = clean(text[: indent + _LONGEST])
    return " " * indent + "".join(each if ord(each) in characters else _MISSING for each in shown)
