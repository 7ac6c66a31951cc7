"""Commands synth, which writes a simulated examination, and demo, which also sends one to a server."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer
from typer import Option

from inline.cli.options import output_file, path
from inline.cli.replay import replay
from inline.data.errors import MyostreamError
from inline.data.plural import counted
from inline.extras import remedy
from inline.terminal.text import make_console
from model.output import check_folder, check_outputs

_console = make_console()
_BREATHING_MM: Final = (0.0, 8.0, 0.0)
"""Displacement of the heart by breathing in each slice of the demo."""


def synth(
    output: Annotated[Path, Option("--output", "-o", callback=output_file, help="MRD file to write.")],
    slices: Annotated[int, Option(min=1, max=500)] = 3,
    seed: Annotated[int, Option(min=0)] = 1,
    scheme: Annotated[str, Option(help="MOLLI scheme, such as 5(3)3 or 4(1)3(1)2.")] = "5(3)3",
    size: Annotated[int, Option(min=96, max=512, help="Rows and columns, pixels of 1.5 mm.")] = 192,
) -> None:
    """Write a simulated examination (MOLLI and T2-prep, truth beside it) to replay."""
    from inline.replay.simulate import simulate_examination, truth_file, write_examination

    check_outputs(output, truth_file(output))
    _keep_others(output)
    try:
        examination = simulate_examination(slices, seed, size=size, scheme=scheme)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    count = write_examination(output, examination)
    simulated = counted(slices, "slice")
    _console.print(f"Simulated {simulated}, T1 (MOLLI) and T2 (T2-prep): {count} images in {output}")


def demo(
    output: Annotated[Path, Option("--output", "-o", parser=path, help="Folder for all files.")] = Path(
        "demo-output"
    ),
    slices: Annotated[int, Option(min=1, max=30)] = 3,
) -> None:
    """Simulate a heart before and after contrast agent, stream it to a server process, show the results."""
    from inline.replay.simulate import simulate_examination, write_examination
    from model.synthesis.contrast_agent import USUAL_AGENT

    check_folder(output)
    reports = [output] if find_spec("cmcrameri") else None
    file = output / "examination.h5"
    _keep_others(file)
    native = simulate_examination(slices, motion_mm=_BREATHING_MM)
    post = simulate_examination(slices, motion_mm=_BREATHING_MM[::-1], agent=USUAL_AGENT)
    count = write_examination(file, native, post, USUAL_AGENT)
    _console.print(
        f"Simulated {counted(slices, 'slice')}: T1 (MOLLI) and T2 (T2-prep), then T1 after contrast agent, "
        f"{count} images in {file}. Haematocrit {USUAL_AGENT.haematocrit:g}, "
        f"ECV {100 * USUAL_AGENT.ecv:g} %. The heart moves by breathing up to "
        f"{max(_BREATHING_MM):g} mm in a part of the slices."
    )
    replay(
        file,
        output / "results.h5",
        json_file=output / "results.json",
        overlays=output,
        report=reports,
        haematocrit=USUAL_AGENT.haematocrit,
    )
    if reports is None:
        _console.print(
            f"No report page: matplotlib and cmcrameri are not installed; they come with {remedy('report')}",
            markup=False,
        )
    _console.print(
        "T1 is some 9 % below the truth, as with MOLLI on a scanner: the inversion is incomplete, and T2 "
        "decays during the readout. In ECV most of this cancels. T2 is some 6 % below: three heartbeats "
        "between the T2-prep images are too few for full recovery of the magnetisation."
    )


def _keep_others(file: Path) -> None:
    """Raise an error for an existing file that is no simulated examination: it may be a measurement."""
    from inline.replay.simulate import truth_file

    truth = truth_file(file)
    if file.exists() and not truth.exists():
        raise MyostreamError(f"{file} is there already, without {truth.name} beside it; give another name")
