"""Scanner-made T2 maps through the whole stream, beside an expert: ``python -m bench.replayed_maps FOLDER``.

The folder holds one npz per slice with ``t2_ms``, ``label`` (0 background, 1 LV cavity, 2 myocardium) and
``pixel_spacing_mm``. The maps are written to an MRD file as a scanner would send them, replayed to a server
process, and what comes back is compared with the labels.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from inline.cli.errors import report_errors
from inline.cli.options import output_file
from inline.contouring.contours import rasterise
from inline.data.results import Contours
from inline.mrd.files import ImageFile, write_images
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from inline.replay.client import exchange
from inline.replay.local_server import started_server
from inline.replay.run import records
from model.output import write_json


@dataclass(frozen=True, slots=True)
class Row:
    """One slice: median T2 of the myocardium (ms) here and by the expert, Dice of cavity and myocardium."""

    name: str
    contour: bool
    median_ms: float
    expert_ms: float
    cavity: float
    myocardium: float
    flags: list[str]


def to_image(file: Path, number: int) -> Image:
    """A T2 map as a scanner sends it, slice ``number``."""
    with np.load(file) as data:
        values, spacing = data["t2_ms"].astype(np.float32), float(data["pixel_spacing_mm"])
    rows, columns = values.shape
    header = ImageHeader(
        field_of_view=(columns * spacing, rows * spacing, 8.0),
        slice=number,
        image_index=number + 1,
        image_series_index=7,
        acquisition_time_stamp=number * 400,
    )
    return Image.from_pixels(
        values[None, None], header, {"DataRole": "T2", "SequenceDescription": "T2map_T2"}
    )


def dice(found: NDArray[np.bool_], expert: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks; 1 where both are empty."""
    total = int(found.sum() + expert.sum())
    return 2.0 * int((found & expert).sum()) / total if total else 1.0


def compare(file: Path, record: dict[str, Any]) -> Row:
    """One slice's result beside its labels."""
    with np.load(file) as data:
        expert, values = data["label"], data["t2_ms"].astype(np.float32)
    labels = np.zeros_like(expert)
    if record["contours"]:
        endo, epi = (np.array(record["contours"][name]["pixels"]) for name in ("endo", "epi"))
        labels = rasterise(Contours(endo=endo, epi=epi), expert.shape)
    return Row(
        name=file.stem,
        contour=record["contours"] is not None,
        median_ms=float(np.median(values[labels == 2])) if (labels == 2).any() else float("nan"),
        expert_ms=float(np.median(values[expert == 2])),
        cavity=dice(labels == 1, expert == 1),
        myocardium=dice(labels == 2, expert == 2),
        flags=record["flags"],
    )


def main(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    json_file: Annotated[Path | None, typer.Option("--json", callback=output_file)] = None,
) -> None:
    """Replay the maps and print the table."""
    files = sorted(folder.glob("*.npz"))
    # All maps come at once, so the last one waits for all others; nobody is at the scanner.
    unhurried = ["--budget-ms", "600000"]
    with tempfile.TemporaryDirectory() as work, started_server(unhurried) as server:
        mrd = Path(work) / "maps.h5"
        write_images(mrd, "", [to_image(file, number) for number, file in enumerate(files)])
        with ImageFile(mrd) as opened:
            images = list(opened.images())
        result = exchange(server.address, "", images)
    by_slice = {record["slice_index"]: record for record, _ in records(result.images)}
    rows = [compare(file, by_slice[number]) for number, file in enumerate(files)]

    table = Table(title="Scanner-made T2 maps, replayed: median T2 of the myocardium, ms")
    for column in ("slice", "myostream", "expert", "Dice\ncavity", "Dice\nmyocardium", "flags"):
        table.add_column(
            column, justify="left" if column in ("slice", "flags") else "right", no_wrap=column == "slice"
        )
    for row in rows:
        table.add_row(
            row.name,
            f"{row.median_ms:.1f}" if row.contour else "no contour",
            f"{row.expert_ms:.1f}",
            f"{row.cavity:.3f}",
            f"{row.myocardium:.3f}",
            ", ".join(flag for flag in row.flags if flag != "no-orientation") or "-",
        )
    difference = [row.median_ms - row.expert_ms for row in rows if row.contour]
    summary = {
        "slices": len(rows),
        "with_contour": sum(row.contour for row in rows),
        "dice_cavity": float(np.mean([row.cavity for row in rows])),
        "dice_myocardium": float(np.mean([row.myocardium for row in rows])),
        "mean_difference_ms": float(np.mean(difference)),
    }
    console = Console()
    console.print(table)
    console.print(
        f"{summary['with_contour']} of {summary['slices']} slices with a contour; mean Dice: cavity "
        f"{summary['dice_cavity']:.3f}, myocardium {summary['dice_myocardium']:.3f}; median T2 "
        f"{summary['mean_difference_ms']:+.1f} ms from the expert's on average"
    )
    if json_file is not None:
        content = {"summary": summary, "slices": [asdict(row) for row in rows]}
        write_json(json_file, content)


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
