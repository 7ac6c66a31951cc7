"""Tar files: saved images of containers, as docker and podman write them, and root file systems."""

import io
import json
import tarfile

from inline.package.image import START
from inline.package.label import LABEL_NAME, encoded

MYOSTREAM = "#!/bin/sh\nexec python -m myostream\n"
ROOT = {"bin/": "", "bin/sh": "", "opt/": "", "opt/env/bin/myostream": MYOSTREAM, "etc/large": bytes(10_000)}
"""A root file system with the program."""


def write_tar(file, members):
    """A tar file of texts or bytes by name; a folder where the name ends with a slash."""
    with tarfile.open(file, "w") as archive:
        for name, content in members.items():
            content = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name.rstrip("/"))
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return file


def save_image(file, label, *, manifest=None, platform=("linux", "amd64"), more=None, **configuration):
    """A saved image; fields of its configuration replace those of a good one."""
    good = {"Labels": {LABEL_NAME: encoded(label)}, "User": "root", "Cmd": list(START)}
    content = {"os": platform[0], "architecture": platform[1], "config": {**good, **configuration}}
    listed = [{"Config": "1f.json", "RepoTags": ["one:V1.2.3"], "Layers": ["2e.tar"]}]
    members = {
        "1f.json": json.dumps(content),
        "2e.tar": bytes(range(256)) * 4096,
        "manifest.json": json.dumps(listed if manifest is None else manifest),
    }
    return write_tar(file, {**members, **(more or {})})
