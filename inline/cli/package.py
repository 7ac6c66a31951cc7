"""``myostream package``: packages for the hosts of scanners."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from inline.cli.errors import ReportingGroup, require
from inline.cli.options import SettingsFile, existing_file, output_folder, path
from inline.data.version import software_version
from inline.settings import load_settings

app = typer.Typer(
    cls=ReportingGroup,
    help="Make packages that run myostream on the host of a scanner (docs/openrecon.md).",
    no_args_is_help=True,
)

VendorOption = Annotated[
    str, Option(help="Who makes the package: letters and digits, dots and hyphens between them.")
]
OutputFolder = Annotated[
    Path,
    Option(
        "--output",
        "-o",
        parser=path,
        callback=output_folder,
        help="Folder for the package; made where missing.",
    ),
]


@app.command()
def openrecon(
    output: OutputFolder = Path("openrecon"),
    vendor: VendorOption = "myostream",
    base: Annotated[str, Option(help="Image of myostream that the label is added to.")] = "myostream",
    image: Annotated[
        Path | None,
        Option(callback=existing_file, help="File of the image with the label; then the archive is made."),
    ] = None,
    settings_file: SettingsFile = None,
) -> None:
    """Write label, manual and build file for OpenRecon of Siemens, and the archive of a given image."""
    from inline.package.label import make_label
    from inline.package.openrecon import next_commands, write_package

    label = make_label(vendor, software_version(), load_settings(settings_file))
    require("matplotlib")
    archive = write_package(output, label, base, image)
    typer.echo(f"label, build file and manual in {output}")
    if archive is not None:
        typer.echo(f"archive to install: {archive}")
        return
    typer.echo("next:")
    for command in next_commands(output, label, base, settings_file):
        typer.echo(f"  {command}")


@app.command()
def fire(
    rootfs: Annotated[
        Path,
        Argument(
            parser=path,
            callback=existing_file,
            help="Root file system, a tar file of podman or docker export.",
        ),
    ],
    output: OutputFolder = Path("fire"),
    vendor: VendorOption = "myostream",
    settings_file: SettingsFile = None,
) -> None:
    """Write start script, configuration and the steps for the disk image for FIRE of Siemens."""
    from inline.package.fire import MAKE_IMAGE, read_root_filesystem, write_fire
    from inline.package.label import make_label

    label = make_label(vendor, software_version())
    package = write_fire(output, label, read_root_filesystem(rootfs), load_settings(settings_file))
    typer.echo(f"next, as root: {shlex.join((str(package / MAKE_IMAGE), str(rootfs)))}")
