"""Manual of a package as PDF: its text, a table of the parameters, and the flags in words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from inline.package.schema import ChoiceParameter, DoubleParameter, IntParameter, Label, Parameter
from inline.report.content import DISCLAIMER
from inline.report.wording import SENTENCES
from model.output import write_bytes

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties

TEXT_FILE: Final = "manual.md"
_WIDTH, _HEIGHT = 8.27, 11.69
"""A4, inches."""
_MARGIN: Final = 0.9
_TITLE, _HEADING, _BODY = 20.0, 12.5, 9.5
"""Sizes of the text, points."""
_LINE: Final = 1.4
"""Distance of lines over the size of the text."""
_SECOND: Final = 1.75
"""Left edge of the second column of a table, inches from the margin."""
# Without dates and versions of other programs equal labels give equal bytes.
_METADATA: Final = {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": "myostream"}


class Block(NamedTuple):
    """Paragraph, heading or row of a table.

    Attributes:
        cells: text of each column; one for paragraphs and headings.
        size: of the text, points.
        above: space above it, in its lines.
        indents: left edge of each cell, inches from the margin.
    """

    cells: tuple[str, ...]
    size: float = _BODY
    above: float = 0.35
    indents: tuple[float, ...] = (0.0,)

    @property
    def bold(self) -> bool:
        """True for headings."""
        return self.size > _BODY


def manual(label: Label) -> list[Block]:
    """Return the text of the manual, in order."""
    general = label.general
    blocks = [
        Block((f"{general.name.en} {general.version}",), _TITLE),
        Block((f"{general.information.en} Package by {general.vendor}.",)),
    ]
    for line in files(__package__).joinpath(TEXT_FILE).read_text(encoding="utf-8").splitlines():
        if line.startswith("## Results"):
            blocks += _parameters(label)
        if line.startswith("## "):
            blocks.append(_heading(line.removeprefix("## ")))
        elif line.startswith("- "):
            blocks.append(Block(("•", line.removeprefix("- ")), indents=(0.0, 0.15)))
        elif line:
            blocks.append(Block((line,)))
    blocks += [
        _heading("Flags"),
        Block(("Each result carries its flags. They mean:",)),
        *(Block(row, indents=(0.0, _SECOND)) for row in SENTENCES.items()),
    ]
    return blocks


def _heading(text: str) -> Block:
    return Block((text,), _HEADING, 1.0)


def _parameters(label: Label) -> Iterator[Block]:
    yield _heading("Parameters")
    for each in label.parameters:
        information = each.information.en if each.information else ""
        yield Block((each.label.en, f"{information} {_values(each)}".strip()), indents=(0.0, _SECOND))


def _values(parameter: Parameter) -> str:
    """Return range and default of a parameter in words."""
    default = f"{parameter.default}"
    if isinstance(parameter, ChoiceParameter):
        names = {each.id: each.name.en for each in parameter.values}
        return f"Choices: {'; '.join(names.values())}. Default: {names[parameter.default]}."
    if isinstance(parameter, IntParameter | DoubleParameter):
        unit = f" {parameter.unit.en}" if parameter.unit else ""
        return f"Range: {parameter.minimum} to {parameter.maximum}{unit}. Default: {default}{unit}."
    if isinstance(parameter.default, bool):
        return f"Default: {'on' if parameter.default else 'off'}."
    return f"Default: {default}." if parameter.default else ""


def write_manual(file: Path, label: Label) -> None:
    """Write the manual of a package.

    Raises:
        OutputError: it cannot be written.
        ImportError: matplotlib is not installed (extra ``report``).
    """
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    pages, drawn = list(_paged(manual(label))), BytesIO()
    with PdfPages(drawn, metadata=_METADATA) as document:
        for number, page in enumerate(pages, start=1):
            figure = Figure(figsize=(_WIDTH, _HEIGHT))
            for x, y, text, size, bold in page:
                figure.text(
                    (_MARGIN + x) / _WIDTH,
                    1.0 - y / _HEIGHT,
                    text,
                    va="top",
                    fontproperties=_font(size, bold=bold),
                )
            footer = f"{DISCLAIMER}   Page {number} of {len(pages)}"
            figure.text(0.5, 0.45 / _HEIGHT, footer, ha="center", fontproperties=_font(_BODY - 1.5))
            document.savefig(figure)
    write_bytes(file, drawn.getvalue())


def _paged(blocks: list[Block]) -> Iterator[list[tuple[float, float, str, float, bool]]]:
    """Yield the lines of each page: place from the margin and from above in inches, text, size, bold."""
    page: list[tuple[float, float, str, float, bool]] = []
    y, bottom = _MARGIN, _HEIGHT - _MARGIN
    for number, block in enumerate(blocks):
        step = block.size / 72.0 * _LINE
        rights = (*block.indents[1:], _WIDTH - 2 * _MARGIN)
        columns = [
            _wrapped(text, right - left - 0.1, block.size, bold=block.bold)
            for text, left, right in zip(block.cells, block.indents, rights, strict=True)
        ]
        needed = step * (block.above + max(map(len, columns)))
        # A heading stays with what follows it.
        following = 4 * _BODY / 72.0 * _LINE if block.bold and number + 1 < len(blocks) else 0.0
        if page and y + needed + following > bottom:
            yield page
            page, y = [], _MARGIN
        y += step * block.above if page else 0.0
        for left, lines in zip(block.indents, columns, strict=True):
            page += [(left, y + step * k, line, block.size, block.bold) for k, line in enumerate(lines)]
        y += step * max(map(len, columns))
    yield page


def _wrapped(text: str, width: float, size: float, *, bold: bool) -> list[str]:
    """Return the lines of a text that are no wider than that, inches; a long word stays whole."""
    lines: list[str] = []
    left = 0.0
    for word in text.split():
        wide = _width(f" {word}", size, bold)
        if lines and wide <= left:
            lines[-1] += f" {word}"
            left -= wide
        else:
            lines.append(word)
            left = width - _width(word, size, bold)
    return lines or [""]


@cache
def _width(text: str, size: float, bold: bool) -> float:
    """Return the width of a text, inches."""
    from matplotlib.textpath import text_to_path

    points, _, _ = text_to_path.get_text_width_height_descent(text, _font(size, bold=bold), ismath=False)
    return float(points) / 72.0


def _font(size: float, *, bold: bool = False) -> FontProperties:
    from matplotlib.font_manager import FontProperties

    return FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
