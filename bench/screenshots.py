"""Figures of ``docs/page.md``: the live page in Chromium with a simulated examination.

``python -m bench.screenshots docs`` writes ``page.png`` and ``page-t2.png`` into the folder.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Annotated, Final

import typer
from PIL import Image as Pillow

from bench.browser import Browser, browser
from bench.page import page_address
from inline.contouring.aha_segments import segment_names
from inline.data.results import SliceLevel
from inline.mrd.messages import Image
from inline.replay.client import exchange
from inline.replay.local_server import started_server
from inline.replay.simulate import header_xml, simulate_examination, to_images
from inline.terminal.text import print_lines
from model.synthesis.contrast_agent import USUAL_AGENT

_SIZES: Final = {"": (1280, 800), "-large": (1920, 1080), "-narrow": (420, 900)}
_PAUSE_S: Final = 1.0
_COLOURS: Final = 256
"""Of a figure: the page has few, and a figure is a third as large."""
_RANGES: Final = {"T1": (950.0, 30.0), "T2": (46.0, 2.5), "ECV": (26.0, 2.0)}
"""Invented mean and SD, for every region."""


def write(folder: Path, *, every_size: bool = False) -> list[Path]:
    """Write the figures, on request also of a large and of a narrow window; return their files."""
    native, post = simulate_examination(3), simulate_examination(3, agent=USUAL_AGENT)
    written: list[Path] = []
    with ExitStack() as stack:
        settings = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "settings.toml"
        ranges = settings.with_name("ranges.toml")
        ranges.write_text(_ranges(), encoding="utf-8")
        settings.write_text(
            f'reference.file = "{ranges}"\nmonitor.page_port = 0\n'
            "emit.uncertainty = true\nbudget_ms = 10000\n",
            encoding="utf-8",
        )
        server = stack.enter_context(started_server(["--settings", str(settings)]))
        window = stack.enter_context(browser())
        address = "http://{}:{}/".format(*page_address(server))
        exchange(
            server.address,
            header_xml(native),
            _paced(to_images(native, post)),
            parameters={"haematocrit": USUAL_AGENT.haematocrit},
        )
        for name, size in _SIZES.items() if every_size else [("", _SIZES[""])]:
            window.open(address, *size)
            window.wait("document.querySelectorAll('.card.drawn').length === 12", 30.0)
            _select(window, "ECV")
            written.append(_shot(window, folder / f"page{name}.png"))
            _select(window, "T2")
            while window.evaluate("document.getElementById('colours').value") != "Grey":
                window.press("m")
            window.press("+")
            written.append(_shot(window, folder / f"page-t2{name}.png"))
    return written


def _paced(images: list[Image]) -> Iterator[Image]:
    """Yield images with a pause after each slice: its result is there before the next one comes."""
    for _, slice_ in groupby(images, lambda image: (image.header.image_series_index, image.header.slice)):
        yield from slice_
        time.sleep(_PAUSE_S)


def _select(window: Browser, kind: str) -> None:
    """Select the middle slice of a kind of map."""
    window.evaluate(f"document.querySelectorAll('.card[data-result^=\"{kind}/\"]')[1].click()")


def _shot(window: Browser, file: Path) -> Path:
    window.screenshot(file)
    with Pillow.open(file) as opened:
        reduced = opened.convert("RGB").quantize(
            _COLOURS, method=Pillow.Quantize.MEDIANCUT, kmeans=2, dither=Pillow.Dither.NONE
        )
    reduced.save(file, optimize=True)
    return file


def _ranges() -> str:
    """Return the invented ranges as TOML."""
    segments = [name for level in SliceLevel for name in segment_names(level)]
    tables = [
        f'[[range]]\nquantity = "{quantity}"\nregion = "{region}"\nfield_strength = 1.5\nmean = {mean}\n'
        f'sd = {sd}\nn = 30\nsource = "invented"\n'
        for quantity, (mean, sd) in _RANGES.items()
        for region in ("global", "septum", "mid-septum", *segments)
    ]
    return "\n".join(tables)


def main(
    folder: Annotated[Path, typer.Argument(help="To write into.")],
    every_size: Annotated[bool, typer.Option(help="Also of a large and of a narrow window.")] = False,
) -> None:
    """Write the figures of docs/page.md."""
    print_lines(
        *(f"{file}: {file.stat().st_size / 1000.0:.0f} KB" for file in write(folder, every_size=every_size))
    )


if __name__ == "__main__":
    typer.run(main)
