"""OpenRecon package: label, file that builds the image, manual, and the archive that a host installs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from inline.package.image import START, check_image
from inline.package.label import LABEL_NAME, encoded, package_name
from inline.package.manual import write_manual
from inline.package.schema import Label, PackageError
from model.output import atomic_output, check_outputs, write_json, write_text

LABEL_FILE: Final = "OpenReconLabel.json"
DOCKERFILE: Final = "OpenRecon.dockerfile"
_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}")
_CHUNK: Final = 1 << 20


def write_package(folder: Path, label: Label, base: str, image: Path | None = None) -> Path | None:
    """Write the files of a package, and the archive where the image is there.

    Args:
        folder: of the outputs, which exists.
        label: of the image.
        base: name of the image of myostream that the label is added to.
        image: file of the image with the label.

    Returns:
        The archive; None without an image.

    Raises:
        PackageError: the image or the name of the base cannot be used; then nothing is written.
        OutputError: a file cannot be written.
        ImportError: matplotlib is not installed (extra ``report``).
    """
    if not _REFERENCE.fullmatch(base):
        raise PackageError(
            f"{base!r} cannot be the name of an image: give one such as myostream:1 or host/myostream:1"
        )
    name = package_name(label)
    label_file, dockerfile, manual = folder / LABEL_FILE, folder / DOCKERFILE, folder / f"{name}.pdf"
    archive = folder / f"{name}.zip" if image is not None else None
    check_outputs(label_file, dockerfile, manual, archive, inputs=[image])
    if image is not None:
        check_image(image, label, str(dockerfile))
    write_json(label_file, label.content())
    write_text(dockerfile, dockerfile_text(label, base))
    write_manual(manual, label)
    if image is not None and archive is not None:
        write_archive(archive, {f"{name}.tar": image, f"{name}.pdf": manual})
    return archive


def dockerfile_text(label: Label, base: str) -> str:
    """Return the file that adds label, user and command to an image of myostream."""
    return (
        f"# Adds the OpenRecon label of {package_name(label)} and its command to an image of myostream.\n"
        f"FROM {base}\n"
        f'LABEL "{LABEL_NAME}"="{encoded(label)}"\n'
        "USER root\n"
        "ENTRYPOINT []\n"
        "HEALTHCHECK NONE\n"
        f"CMD {json.dumps(START)}\n"
    )


def next_commands(
    folder: Path, label: Label, base: str, settings_file: Path | None = None
) -> tuple[str, ...]:
    """Return the commands that make the image and then the archive."""
    name = package_name(label)
    # Tags have no capitals and no plus sign.
    tag = f"openrecon_{label.general.vendor}_{label.general.name.en}:V{label.general.version}"
    tag = tag.lower().replace("+", "-")
    saved = str(folder / f"{name}.tar")
    build = ("podman", "build", "--format", "docker", "--platform", "linux/amd64")
    package = ("myostream", "package", "openrecon", "--vendor", label.general.vendor, "--base", base)
    given = () if settings_file is None else ("--settings", str(settings_file))
    commands = (
        (*build, "-f", str(folder / DOCKERFILE), "-t", tag, str(folder)),
        ("podman", "save", "--format", "docker-archive", "-o", saved, tag),
        (*package, *given, "--image", saved, "-o", str(folder)),
    )
    return tuple(map(shlex.join, commands))


def write_archive(file: Path, members: Mapping[str, Path]) -> None:
    """Write a zip archive of files, in Deflate; equal files give equal bytes.

    Args:
        file: to write.
        members: file by its name in the archive; read in pieces, whatever its size.

    Raises:
        OutputError: it cannot be written, or a file cannot be read.
    """
    with atomic_output(file) as beside, zipfile.ZipFile(beside, "w") as archive:
        for name, source in members.items():
            info = zipfile.ZipInfo(name)  # of 1980-01-01: no date of this run
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
            info.external_attr = 0o100644 << 16
            info.file_size = source.stat().st_size  # decides on 64 bits
            with source.open("rb") as content, archive.open(info, "w") as member:
                shutil.copyfileobj(content, member, _CHUNK)
