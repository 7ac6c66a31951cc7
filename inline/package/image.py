"""Image of a container as a file, checked for what the host of OpenRecon can load and start."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any, Final

from inline.package.label import LABEL_NAME, PORT, decoded
from inline.package.schema import Label, PackageError

START: Final = ("myostream", "serve", "-H", "0.0.0.0", "-p", str(PORT))
"""Command of the image."""
_JSON_MOST: Final = 1 << 24


def check_image(file: Path, label: Label, dockerfile: str) -> None:
    """Check that a file is one image with a label and the command that starts the server.

    Args:
        file: written by ``docker save`` or ``podman save --format docker-archive``.
        label: that the image must carry.
        dockerfile: name of the file that makes such an image, for messages.

    Raises:
        PackageError: it is not; the message states what to do.
    """
    try:
        with tarfile.open(file, "r:") as archive:
            members = {each.name.removeprefix("./"): each for each in archive}
            if "oci-layout" in members:
                raise PackageError(
                    f"{file} has the OCI layout, which hosts of OpenRecon do not load; write it with "
                    "'podman save --format docker-archive' or with Docker before version 25"
                )
            manifest = _json(archive, members, "manifest.json")
            image = manifest[0] if isinstance(manifest, list) and len(manifest) == 1 else None
            layers = image.get("Layers") if isinstance(image, dict) else None
            if (
                not isinstance(image, dict)
                or not isinstance(image.get("Config"), str)
                or not (isinstance(layers, list) and layers and all(isinstance(each, str) for each in layers))
            ):
                raise PackageError(f"{file} does not hold one image with its layers; save a single one")
            if missing := [each for each in layers if each not in members]:
                raise PackageError(f"{file} lacks layers of its image ({missing[0]}); save it again")
            content = _json(archive, members, image["Config"])
    except KeyError as error:
        raise PackageError(
            f"{file} is no saved image: it has no {error.args[0]}; write it with 'docker save' or "
            "'podman save --format docker-archive', not with 'export'"
        ) from error
    except (tarfile.TarError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise PackageError(f"{file} cannot be read as an uncompressed tar file: {error}") from error
    _check_configuration(file, content if isinstance(content, dict) else {}, label, dockerfile)


def _json(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], name: str) -> Any:
    """Return the JSON of a member; raise KeyError without it, ValueError where it is none."""
    content = archive.extractfile(members[name])
    if content is None or members[name].size > _JSON_MOST:
        raise ValueError(f"{name} is no file of JSON")
    return json.loads(content.read())


def _check_configuration(file: Path, content: dict[str, Any], label: Label, dockerfile: str) -> None:
    """Check labels, platform, user and command of an image."""
    platform = (content.get("os"), content.get("architecture"))
    if platform != ("linux", "amd64"):
        raise PackageError(f"the image in {file} is for {platform}; build it with --platform linux/amd64")
    configuration = content.get("config")
    if not isinstance(configuration, dict):
        raise PackageError(f"the image in {file} has no configuration; build it with {dockerfile}")
    labels = configuration.get("Labels")
    value = labels.get(LABEL_NAME) if isinstance(labels, dict) else None
    if not isinstance(value, str):
        raise PackageError(f"the image in {file} has no OpenRecon label; build it with {dockerfile}")
    if decoded(value).content() != label.content():
        raise PackageError(
            f"the image in {file} has another OpenRecon label, of another version, vendor or settings; "
            f"build it again with {dockerfile}"
        )
    user = str(configuration.get("User") or "root").partition(":")[0]
    if user not in ("root", "0"):
        raise PackageError(f"the image in {file} runs as {user}; OpenRecon needs root: use {dockerfile}")
    command = (*_words(configuration.get("Entrypoint")), *_words(configuration.get("Cmd")))
    if command != START:
        raise PackageError(
            f"the image in {file} starts {' '.join(command) or 'nothing'} in place of {' '.join(START)}; "
            f"build it with {dockerfile}"
        )


def _words(command: object) -> tuple[str, ...]:
    """Return the words of a command; a text is one word."""
    words = command if isinstance(command, list) else [] if command is None else [command]
    return tuple(map(str, words))
