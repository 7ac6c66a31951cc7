"""Sheet of a report: text that is measured, fitted and wrapped, rules, axes and colour bars, by matplotlib.

Without the global state of matplotlib: safe in any thread, needs no display.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from inline.report.colours import Window, colour_map, norm
from inline.report.maps import Kind
from inline.report.wording import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.font_manager import FontProperties

WIDTH, HEIGHT = 11.69, 8.27
"""A4 landscape, inches: consoles are wider than high."""
INK, FAINT, _RULE, WARNING = "#111111", "#555555", "#9a9a9a", "#8a1c1c"
BODY, SMALL, TITLE = 8.5, 7.5, 16.0
"""Sizes of the text, points."""
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


class _Fonts(NamedTuple):
    """Names of the installed fonts in the order of use, and the code points that they have in a weight."""

    names: tuple[str, ...]
    characters: frozenset[int]


@cache
def _fonts(*, bold: bool = False) -> _Fonts:
    """Return the fonts that are there, and the characters that they have in this weight."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

    # Few of the further fonts have a bold face. matplotlib warns of each, which is of no use to a user.
    logging.getLogger("matplotlib.font_manager").addFilter(_of_use)
    there = {each.name for each in fontManager.ttflist}
    names = ("DejaVu Sans", *(name for name in _FURTHER_FONTS if name in there))
    # Of several faces of a name some have fewer characters: those of the one that is drawn with count.
    files = [findfont(FontProperties(family=name, weight=_weight(bold=bold))) for name in names]
    return _Fonts(names, frozenset().union(*(get_font(file).get_charmap() for file in files)))


def _weight(*, bold: bool) -> str:
    return "bold" if bold else "normal"


def _of_use(record: logging.LogRecord) -> bool:
    """Return False for matplotlib's warning that a font has no face of a weight."""
    return not str(record.msg).startswith("findfont: Failed to find font weight")


class Sheet:
    """Page to write on; places are inches from its upper left corner."""

    def __init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(WIDTH, HEIGHT), dpi=100, facecolor="white")
        self._renderer = FigureCanvasAgg(self.figure).get_renderer()  # type: ignore[no-untyped-call]

    def font(self, size: float, *, bold: bool = False) -> FontProperties:
        """Return a font of a size in points."""
        from matplotlib.font_manager import FontProperties

        return FontProperties(family=list(_fonts().names), size=size, weight=_weight(bold=bold))

    def width(self, text: str, size: float, *, bold: bool = False) -> float:
        """Return the width of a text, inches."""
        width, _, _ = self._renderer.get_text_width_height_descent(
            text, self.font(size, bold=bold), ismath=False
        )
        return float(width) / 100.0 * _HINTING

    def fitted(self, text: str, width: float, size: float, *, bold: bool = False) -> str:
        """Return a text that is no wider than that, with an ellipsis where it was shortened."""
        text = _printable(text, bold=bold)
        if self.width(text, size, bold=bold) <= width:
            return text

        def shortened(length: int) -> str:
            return text[:length].rstrip() + " …"

        lengths = range(1, len(text) + 1)
        return shortened(
            bisect_right(lengths, width, key=lambda length: self.width(shortened(length), size, bold=bold))
        )

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
        size: float = BODY,
        *,
        bold: bool = False,
        colour: str = INK,
        align: str = "left",
    ) -> None:
        """Write one line; ``y`` is its base line."""
        self.figure.text(
            x / WIDTH,
            1.0 - y / HEIGHT,
            _printable(text, bold=bold),
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
            Line2D(ends, [at, at], color=INK if thick else _RULE, linewidth=1.2 if thick else 0.5)
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
            labels, fontproperties=self.font(SMALL - 0.5)
        )
        bar.ax.tick_params(length=2, pad=1.5, width=0.5)
        bar.outline.set_linewidth(0.5)


def _ticks(window: Window) -> tuple[float, ...]:
    """Return a few round values within a window, with its ends where they are round."""
    step = (window.high - window.low) / 4
    nice = next(
        (each for each in (0.25, 0.5, 5, 10, 15, 20, 25, 50, 100, 200, 250, 500) if each >= step), step
    )
    inner = np.arange(math.ceil(window.low / nice) * nice, window.high + nice / 2, nice)
    return tuple(float(each) for each in inner if window.low <= each <= window.high)


def _printable(text: str, *, bold: bool = False) -> str:
    """Return a text in the characters of the fonts; spaces at its beginning are kept."""
    characters = _fonts(bold=bold).characters
    indent = len(text) - len(text.lstrip(" "))
    shown = clean(text[: indent + _LONGEST])
    return " " * indent + "".join(each if ord(each) in characters else _MISSING for each in shown)
