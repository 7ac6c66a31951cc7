"""Package for FIRE: the folder, and the disk image that its script makes of a small root file system."""

import configparser
import lzma
import os
import re
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path
from random import Random

import pytest

import inline
from inline.package.fire import read_root_filesystem, write_fire
from inline.package.schema import PackageError
from inline.serving.parameters import read_parameters, with_parameters
from inline.settings import Settings
from tests.inline.package.images import MYOSTREAM, ROOT, write_tar

needs_tools = pytest.mark.skipif(
    not (shutil.which("mke2fs") and shutil.which("debugfs") and os.geteuid() == 0),
    reason="needs root and e2fsprogs",
)


@pytest.fixture
def rootfs(tmp_path):
    return write_tar(tmp_path / "rootfs.tar", ROOT)


def test_a_root_file_system_is_measured_in_blocks(rootfs):
    root = read_root_filesystem(rootfs)
    assert root.executable == "/opt/env/bin/myostream"
    assert root.entries == 5
    assert root.content_bytes == (1 + 1 + 1 + 1 + 3) * 4096
    assert root.image_mb == 300  # 200 MB free, in steps of 100


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"bin/sh": ""}, "found: none"),
        ({"bin/sh": "", "bin/myostream/": ""}, "found: none"),
        ({**ROOT, "usr/bin/myostream": ""}, "found: /opt/env/bin/myostream, /usr/bin/myostream"),
        ({"opt/env/bin/myostream": ""}, "no /bin/sh"),
        ({"manifest.json": "[]"}, "is a saved image; write it with 'podman export'"),
    ],
)
def test_another_root_file_system_is_refused(tmp_path, members, problem):
    with pytest.raises(PackageError, match=problem):
        read_root_filesystem(write_tar(tmp_path / "other.tar", members))


def test_a_file_that_is_no_tar_file_is_refused(tmp_path, rootfs):
    (tmp_path / "text").write_text("no tar file")
    (tmp_path / "cut").write_bytes(rootfs.read_bytes()[:9000])
    large = write_tar(tmp_path / "large.tar", {**ROOT, "large": Random(1).randbytes(100_000)})
    packed = bytearray(lzma.compress(large.read_bytes()))
    packed[40_000:41_000] = bytes(1000)
    (tmp_path / "damaged").write_bytes(packed)
    for name in ("text", "cut", "damaged"):
        with pytest.raises(PackageError, match="cannot be read as a tar file"):
            read_root_filesystem(tmp_path / name)


def test_the_start_script_runs_a_command_whatever_its_path(label, tmp_path):
    path = "opt/my env $(touch x);'/bin/myostream"
    root = read_root_filesystem(write_tar(tmp_path / "rootfs.tar", {"bin/sh": "", path: MYOSTREAM}))
    lines = (write_fire(tmp_path, label, root, Settings()) / "start-myostream.sh").read_text().splitlines()
    (start,) = (line for line in lines if line.startswith("nohup"))
    assert shlex.split(start)[:3] == ["nohup", f"/{path}", "serve"]


def test_the_start_script_uses_the_kernels_of_the_root_file_system(label, rootfs, tmp_path):
    """An exported root file system has no environment: the script exports that of the Containerfile."""
    containerfile = (Path(inline.__file__).parents[1] / "Containerfile").read_text()
    last = re.split("^FROM .*$", containerfile, flags=re.MULTILINE)[-1]
    wanted = dict(each.split("=") for each in re.search("^ENV (NUMBA_.*)$", last, re.MULTILINE)[1].split())
    assert len(wanted) == 3

    def exported(archive):
        folder = tmp_path / "package"
        folder.mkdir(exist_ok=True)
        text = (
            write_fire(folder, label, read_root_filesystem(archive), Settings()) / "start-myostream.sh"
        ).read_text()
        script = text.replace("/tmp/share", str(tmp_path)).partition("nohup")[0] + "exec env"
        made = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": os.defpath}
        )
        return dict(line.split("=", 1) for line in made.stdout.splitlines() if line.startswith("NUMBA"))

    assert exported(rootfs) == {}
    kernel = f"{wanted['NUMBA_CACHE_DIR'].strip('/')}/myostream/fit_molli.kernel"
    assert exported(write_tar(tmp_path / "more.tar", {**ROOT, kernel: ""})) == wanted


def test_the_folder_has_configuration_defaults_and_script(label, rootfs, tmp_path):
    package = write_fire(tmp_path, label, read_root_filesystem(rootfs), Settings())
    assert package == tmp_path / "FIRE_site_myostream_V1.2.3"
    files = {str(each.relative_to(package)) for each in package.rglob("*") if each.is_file()}
    assert files == {
        "make-image.sh",
        "start-myostream.sh",
        "Ice/fire/fire_myostream.ini",
        "Ice/fire/config/fire_myostream.json",
    }
    for folder in ("chroot", "share/log"):
        assert (package / "Ice/fire" / folder).is_dir()
    for script in package.glob("*.sh"):
        assert os.access(script, os.X_OK)
        subprocess.run(["sh", "-n", script], check=True)
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(package / "Ice/fire/fire_myostream.ini")
    assert ini["OpenRecon"]["port"] == "9002"
    chroot = ini["chroot"]
    assert chroot["chroot_image_name"] == "myostream-1.2.3.img"
    command, log = chroot["chroot_command"].split()
    assert (command, log) == ("/usr/local/bin/start-myostream.sh", "/tmp/share/log/myostream.log")
    start = (package / "start-myostream.sh").read_text()
    assert f"nohup /opt/env/bin/{chroot['chroot_search_string']} -H 0.0.0.0 -p 9002 " in start
    sent = read_parameters((package / "Ice/fire/config/fire_myostream.json").read_text())
    assert sent.pop("config") == "mapping"
    assert sent == {}  # a default would replace what the server is set to


def test_the_configuration_states_what_the_site_has_set(label, rootfs, tmp_path):
    own = Settings.model_validate(
        {
            "budget_ms": 2500,
            "contours": {"endo_offset_mm": 1.83},
            "emit": {"overlay": False, "zmq": "tcp://*:1"},
            "ecv": {"haematocrit": 0.42},  # of one patient
        }
    )
    package = write_fire(tmp_path, label, read_root_filesystem(rootfs), own)
    sent = read_parameters((package / "Ice/fire/config/fire_myostream.json").read_text())
    assert sent == {"config": "mapping", "budget_ms": 2500.0, "overlay": False, "endo_offset_mm": 1.83}
    del sent["config"]
    by_host, problems = with_parameters(Settings(), sent)
    assert (by_host.contours, by_host.budget_ms, problems) == (own.contours, own.budget_ms, [])


@needs_tools
def test_the_script_makes_a_file_system_with_the_start_script_and_all_files(label, rootfs, tmp_path):
    with tarfile.open(rootfs, "a") as archive:
        owned = tarfile.TarInfo("home/user")
        owned.type, owned.uid, owned.gid, owned.mode = tarfile.DIRTYPE, 1234, 1234, 0o700
        archive.addfile(owned)
    package = write_fire(tmp_path, label, read_root_filesystem(rootfs), Settings())
    script = package / "make-image.sh"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    before = set(tmp_path.iterdir())
    done = subprocess.run([script, rootfs], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert set(tmp_path.iterdir()) == before  # nothing temporary is left
    image = package / "Ice/fire/chroot/myostream-1.2.3.img"
    assert done.stdout.splitlines()[-1] == str(image)
    assert [each.name for each in image.parent.iterdir()] == [image.name]
    assert image.stat().st_size == 300 << 20

    def debugfs(request):
        return subprocess.run(
            ["debugfs", "-R", request, image], capture_output=True, text=True, check=True
        ).stdout

    assert "has_journal" in debugfs("features")
    assert "extent" not in debugfs("features")  # ext3, not ext4
    start = (package / "start-myostream.sh").read_text()
    assert debugfs("cat /usr/local/bin/start-myostream.sh") == start
    assert "Mode:  0755" in debugfs("stat /usr/local/bin/start-myostream.sh")
    assert debugfs("cat /opt/env/bin/myostream") == MYOSTREAM
    assert "Size: 10000" in debugfs("stat /etc/large")
    assert "User:  1234   Group:  1234" in debugfs("stat /home/user")
    assert "Type: directory" in debugfs("stat /tmp/share")
    assert "character special" in debugfs("stat /dev/null")


@needs_tools
def test_a_script_that_fails_keeps_an_earlier_image_and_leaves_nothing(label, rootfs, tmp_path):
    package = write_fire(tmp_path, label, read_root_filesystem(rootfs), Settings())
    image = package / "Ice/fire/chroot/myostream-1.2.3.img"
    image.write_text("earlier")
    rootfs.write_bytes(rootfs.read_bytes()[:9000])
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    before = set(tmp_path.rglob("*"))
    done = subprocess.run(
        [package / "make-image.sh", rootfs], capture_output=True, check=False, env=environment
    )
    assert done.returncode != 0
    assert image.read_text() == "earlier"
    assert set(tmp_path.rglob("*")) == before
    usage = subprocess.run([package / "make-image.sh"], capture_output=True, text=True, check=False)
    assert usage.returncode == 2
    assert "usage" in usage.stderr


def test_the_start_script_returns_and_the_server_runs_on_with_its_log(label, rootfs, tmp_path):
    """With a stand-in for the server, at the path that the script starts."""
    server = tmp_path / "bin" / "myostream"
    server.parent.mkdir()
    server.write_text('#!/bin/sh\necho "$@"\nsleep 1\necho done > "$(dirname "$0")/done"\n')
    server.chmod(0o755)
    root = read_root_filesystem(rootfs)
    stand_in = type(root)(str(server), root.entries, root.content_bytes)
    package = write_fire(tmp_path, label, stand_in, Settings())
    script = (package / "start-myostream.sh").read_text().replace("/tmp/share", str(tmp_path / "share"))
    log = tmp_path / "share" / "log" / "myostream.log"
    subprocess.run(["sh", "-c", script, "start", log], check=True, timeout=10)
    assert not (tmp_path / "bin" / "done").exists()
    deadline = 100
    while not (tmp_path / "bin" / "done").exists() and deadline:
        subprocess.run(["sleep", "0.1"], check=True)
        deadline -= 1
    assert "serve -H 0.0.0.0 -p 9002" in log.read_text()
