"""FIRE package: start script, configuration and steps for the disk image that a Siemens host runs as chroot.

Names of files and keys follow public packages: ``build.py`` of neurodesk/openrecon, the scripts of
kspaceKelvin/python-ismrmrd-server.
"""

from __future__ import annotations

import lzma
import math
import shlex
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from inline.package.label import NAME, PORT, package_name
from inline.package.schema import Label, PackageError
from inline.serving.parameters import own_parameters
from inline.settings import Settings
from model.output import check_folder, write_json, write_text

START_SCRIPT: Final = "start-myostream.sh"
MAKE_IMAGE: Final = "make-image.sh"
_IN_CHROOT: Final = f"/usr/local/bin/{START_SCRIPT}"
_SHELLS: Final = ("bin/sh", "usr/bin/sh")
_BLOCK: Final = 4096
_OVERHEAD: Final = 1.15
"""Size of an ext3 file system over that of its content: tables of inodes and the journal."""
_FREE_MB: Final = 200
_STEP_MB: Final = 100
_KERNELS: Final = "/opt/myostream/kernels"
_ENVIRONMENT: Final = f"NUMBA_CACHE_DIR={_KERNELS} NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES="
"""Of the Containerfile: without it the kernels are not found and compiled at each start. Its cache folder is
left out: it belongs to the user of the container, who need not be that of the chroot."""


@dataclass(frozen=True, slots=True)
class RootFilesystem:
    """Root file system of an image of myostream.

    Attributes:
        executable: absolute path of the command ``myostream`` in it.
        entries: number of files, folders and links.
        content_bytes: disk space of its content in blocks of 4 KiB.
        kernels: it holds the compiled kernels of the Containerfile.
    """

    executable: str
    entries: int
    content_bytes: int
    kernels: bool = False

    @property
    def image_mb(self) -> int:
        """Size of the disk image, MB of 2^20 bytes: content, overhead and free space, in steps."""
        needed = self.content_bytes / (1 << 20) * _OVERHEAD + _FREE_MB
        return math.ceil(needed / _STEP_MB) * _STEP_MB


def read_root_filesystem(file: Path) -> RootFilesystem:
    """Return what a package needs to know of a root file system.

    Args:
        file: tar file that ``docker export`` or ``podman export`` wrote.

    Raises:
        PackageError: it cannot be read, or holds no shell or not one command ``myostream``.
    """
    executables: list[str] = []
    shell, kernels, entries, content_bytes = False, False, 0, 0
    try:
        with tarfile.open(file) as archive:
            for each in archive:
                path = each.name.removeprefix("./").strip("/")
                if path == "manifest.json":
                    raise PackageError(
                        f"{file} is a saved image; write it with 'podman export' of a container"
                    )
                entries += 1
                content_bytes += max(math.ceil(each.size / _BLOCK), 1) * _BLOCK if not each.islnk() else 0
                shell = shell or path in _SHELLS
                kernels = kernels or (f"/{path}".startswith(f"{_KERNELS}/") and path.endswith(".kernel"))
                if each.isreg() and PurePosixPath(path).parts[-2:] == ("bin", NAME):
                    executables.append(f"/{path}")
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise PackageError(f"{file} cannot be read as a tar file: {error}") from error
    if len(executables) != 1:
        found = ", ".join(executables) or "none"
        raise PackageError(f"{file} must hold one command bin/{NAME}; found: {found}")
    if not shell:
        raise PackageError(f"{file} has no /bin/sh, with which the start script runs; use another base image")
    return RootFilesystem(executables[0], entries, content_bytes, kernels)


def write_fire(folder: Path, label: Label, root: RootFilesystem, settings: Settings) -> Path:
    """Write the folder of a FIRE package and return it. The disk image is made by its ``make-image.sh``.

    Args:
        folder: of the outputs, which exists.
        label: with version and vendor.
        root: root file system of the disk image.
        settings: of the site. The host sends the parameters that are not at their defaults: others would
            replace what the server is set to.

    Raises:
        OutputError: a file cannot be written.
    """
    package = folder / package_name(label).replace("OpenRecon", "FIRE", 1)
    fire = package / "Ice" / "fire"
    for each in (fire / "chroot", fire / "config", fire / "share" / "log"):
        check_folder(each)
    image = f"{NAME}-{label.general.version}.img"
    write_text(fire / f"fire_{NAME}.ini", _ini(image))
    parameters = {"config": "mapping", **own_parameters(settings)}
    write_json(fire / "config" / f"fire_{NAME}.json", {"version": "1.1.0", "parameters": parameters})
    for name, text in ((START_SCRIPT, _start_script(root)), (MAKE_IMAGE, _make_image(image, root))):
        write_text(package / name, text)
        (package / name).chmod(0o755)
    return package


def _ini(image: str) -> str:
    return f"""\
; FIRE configuration of {NAME}. Check every line against the fire.ini of the scanner.
[OpenRecon]
hostname=192.168.2.2
port={PORT}

[chroot]
start_chroot=true
chroot_image_path=/opt/medcom/MriCustomer/ice/fire/chroot
chroot_image_name={image}
chroot_command={_IN_CHROOT} /tmp/share/log/{NAME}.log
chroot_search_string={NAME} serve
chroot_stop_after_finish=true
chroot_allowable_residual_memory_usage=128
"""


def _start_script(root: RootFilesystem) -> str:
    kernels = f"# The compiled kernels of the image.\nexport {_ENVIRONMENT}\n" if root.kernels else ""
    return f"""\
#!/bin/sh
# Starts {NAME} in the chroot of FIRE and returns. First argument: log file.
{kernels}# Temporary files go to the folder that is shared with the host: the disk image has little room.
export TMPDIR=/tmp/share
mkdir -p "$TMPDIR" "$(dirname "${{1:-/dev/null}}")"
nohup {shlex.quote(root.executable)} serve -H 0.0.0.0 -p {PORT} >> "${{1:-/dev/null}}" 2>&1 < /dev/null &
"""


def _make_image(image: str, root: RootFilesystem) -> str:
    return f"""\
#!/bin/sh
# Makes Ice/fire/chroot/{image} of the root file system that the package was written for.
# Needs root, since files keep their owners, GNU tar, and e2fsprogs 1.43 or later.
set -eu
if [ $# -ne 1 ] || [ ! -f "$1" ]; then echo "usage: $0 ROOTFS.tar" >&2; exit 2; fi
if [ "$(id -u)" -ne 0 ]; then echo "$0: run it as root: files keep their owners" >&2; exit 1; fi
here=$(dirname "$(readlink -f "$0")")
image="$here/Ice/fire/chroot/{image}"
tree=$(mktemp -d "${{TMPDIR:-/var/tmp}}/{NAME}-rootfs.XXXXXX")
trap 'rm -rf "$tree" "$image.part"' EXIT
tar --extract --file "$1" --directory "$tree" --same-permissions --same-owner --numeric-owner
mkdir -p "$tree/dev" "$tree/proc" "$tree/sys" "$tree/tmp/share" "$tree/usr/local/bin"
install -m 755 "$here/{START_SCRIPT}" "$tree{_IN_CHROOT}"
[ -e "$tree/dev/null" ] || mknod -m 666 "$tree/dev/null" c 1 3
rm -f "$image.part"
truncate -s {root.image_mb}M "$image.part"
mke2fs -q -F -t ext3 -b {_BLOCK} -N {max(2 * root.entries, 4096)} -d "$tree" "$image.part"
e2fsck -f -n "$image.part"
mv "$image.part" "$image"
echo "$image"
"""
