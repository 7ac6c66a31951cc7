"""Tables and figures of the study from labelled slices: ``myostream bench tables``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.tables import figures
from bench.tables.agreement import AT_BORDERS, METRICS, medians, pairs, segment_all
from bench.tables.comparisons import table_2, table_3, table_4, table_5
from bench.tables.outlines import lower_bounds
from bench.tables.output import write
from bench.tables.postprocessing import table_8
from bench.tables.trainings import ShortTraining, table_6, table_7, table_a1
from bench.values import write_results
from inline.data.results import ContourOffsets
from inline.terminal.text import print_lines
from model.engines.base import Engine
from model.evaluation.cases import LabelledSlice, read_kinds
from model.evaluation.outlines import smooth_outline
from model.evaluation.readers import Spread, make_readers, read
from model.evaluation.synthetic import SEED, make_slices
from model.output import write_text

KINDS: Final = ("t1", "t2")


def synthetic_slices(count: int, readers: int, spread: Spread) -> list[LabelledSlice]:
    """Return native maps of both kinds, ``count`` of each, with the labels of simulated readers."""
    random = np.random.default_rng(SEED)
    people = make_readers(readers, spread, random)
    return [
        read(slice_, people, spread, random)
        for kind in KINDS
        for slice_, _ in make_slices(count, kind, maps=True)
        if (slice_.labels == 1).any()
    ]


def read_both(folder: Path) -> list[LabelledSlice]:
    """Return slices of both kinds of map on which every reader drew a cavity.

    Raises:
        CaseError: there are none of either kind, or one cannot be read.
    """
    slices = read_kinds(folder, KINDS)
    return [each for each in slices if all((labels == 1).any() for labels in each.readers.values())]


def run(
    slices: Sequence[LabelledSlice],
    engine: Engine,
    output: Path,
    *,
    about: str,
    training: ShortTraining | None = None,
    encoder: Path | None = None,
    json_file: Path | None = None,
    offsets: ContourOffsets = AT_BORDERS,
    repeats: int = 7,
) -> dict[str, Any]:
    """Make, print and write all tables and figures; return the content of the JSON file.

    Args:
        slices: with one or more readers each; every reader drew a cavity.
        engine: of the product.
        output: folder for Markdown, CSV, PNG and JSON.
        about: description of slices and readers, printed with everything.
        training: of tables 6, 7 and A1.
        encoder: ImageNet checkpoint for table 7.
        json_file: instead of ``tables.json`` in the folder.
        offsets: contour convention of the readers.
        repeats: of each timed inference.
    """
    training = training or ShortTraining()
    segmented = segment_all(slices, engine, offsets)
    agreed, by_reader = pairs(segmented), medians(segmented)
    contours = [
        smooth_outline(mask) * each.spacing for each in slices for mask in (each.labels == 1, each.labels > 0)
    ]
    bounds = lower_bounds(contours)
    tables = [
        table_2(agreed),
        table_3(agreed),
        table_4(agreed),
        table_5(by_reader),
        table_6(slices, training, engine, repeats, offsets),
        table_7(slices, training, encoder, offsets),
        table_8(segmented, offsets),
        table_a1(slices, training, offsets),
    ]
    write(tables, output, about)
    named = agreed.rename(columns={"kind": "map"})[["slice", "map", "level", "first", "second", *METRICS]]
    write_text(output / "pairs.csv", named.round(4).to_csv(index=False, na_rep="nan"))
    drawn = figures.draw(output, segmented, agreed, by_reader, bounds, about)
    content = {
        "engine": engine.name,
        "about": about,
        "slices": len(slices),
        "readers": sorted({name for each in slices for name in each.readers}),
        "training": {name: value for name, value in asdict(training).items() if name != "keep"},
        "tables": {
            table.number: {"title": table.title, "notes": table.notes, "values": table.values}
            for table in tables
        },
        "figure_9": [
            {"pixel_mm": size, "centres_mm": centres, "borders_mm": borders}
            for size, (centres, borders) in (
                (size, np.median(found, axis=0).tolist()) for size, found in bounds.items()
            )
        ],
    }
    write_results(json_file or output / "tables.json", content)
    print_lines(about)
    for table in tables:
        table.show()
    print_lines(f"tables.md, {len(tables)} tables as CSV, {len(drawn)} figures: {output}")
    return content
