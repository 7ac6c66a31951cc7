"""Package for OpenRecon: what the archive holds; equal images give equal bytes."""

import base64
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from inline.package.label import LABEL_NAME, make_label
from inline.package.openrecon import dockerfile_text, next_commands, write_archive, write_package
from inline.package.schema import PackageError, check_label
from model.output import OutputError

NAME = "OpenRecon_site_myostream_V1.2.3"


def test_the_archive_holds_image_and_manual_under_one_name(label, saved, tmp_path):
    out, image = tmp_path / "out", saved()
    out.mkdir()
    assert write_package(out, label, "myostream:1.2.3", image) == out / f"{NAME}.zip"
    written = {"OpenReconLabel.json", "OpenRecon.dockerfile", f"{NAME}.pdf", f"{NAME}.zip"}
    assert {each.name for each in out.iterdir()} == written
    with zipfile.ZipFile(out / f"{NAME}.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{NAME}.tar", f"{NAME}.pdf"]
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_DEFLATED}
        assert archive.read(f"{NAME}.tar") == image.read_bytes()
        assert archive.read(f"{NAME}.pdf") == (out / f"{NAME}.pdf").read_bytes()
    assert check_label(json.loads((out / "OpenReconLabel.json").read_text())) == label


def test_equal_images_give_equal_bytes(label, saved, tmp_path):
    digests = set()
    for number in range(2):
        out = tmp_path / str(number)
        out.mkdir()
        archive = write_package(out, label, "myostream", saved(f"{number}.tar"))
        digests.add(hashlib.sha256(archive.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_without_an_image_there_is_all_but_the_archive(label, tmp_path):
    assert write_package(tmp_path, label, "myostream") is None
    assert {each.name for each in tmp_path.iterdir()} == {
        "OpenReconLabel.json",
        "OpenRecon.dockerfile",
        f"{NAME}.pdf",
    }


def test_an_image_that_cannot_be_used_leaves_nothing(label, saved, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(PackageError, match=f"{out}/OpenRecon.dockerfile"):
        write_package(out, label, "myostream", saved(Labels={}))
    with pytest.raises(PackageError, match="another version, vendor or settings"):
        write_package(out, make_label("elsewhere", "1.2.3"), "myostream", saved())
    assert list(out.iterdir()) == []


def test_the_archive_does_not_replace_its_own_image(label, saved, tmp_path):
    image = saved(f"{NAME}.zip")
    before = image.read_bytes()
    with pytest.raises(OutputError, match="would be overwritten"):
        write_package(tmp_path, label, "myostream", image)
    assert image.read_bytes() == before


def test_a_large_file_is_read_in_pieces_and_has_64_bit_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1 << 20)
    (tmp_path / "large").write_bytes(bytes(3 << 20))
    write_archive(tmp_path / "archive.zip", {"large.tar": tmp_path / "large"})
    with zipfile.ZipFile(tmp_path / "archive.zip") as archive:
        assert archive.getinfo("large.tar").file_size == 3 << 20
        assert archive.getinfo("large.tar").extract_version == zipfile.ZIP64_VERSION
        assert archive.testzip() is None


def test_the_build_file_adds_label_root_and_command(label):
    text = dockerfile_text(label, "localhost/myostream:1.2.3")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines[0] == "FROM localhost/myostream:1.2.3"
    (value,) = re.findall(rf'^LABEL "{re.escape(LABEL_NAME)}"="([A-Za-z0-9+/=]+)"$', text, re.MULTILINE)
    assert json.loads(base64.b64decode(value)) == label.content()
    assert lines[2:] == [
        "USER root",
        "ENTRYPOINT []",
        "HEALTHCHECK NONE",
        'CMD ["myostream", "serve", "-H", "0.0.0.0", "-p", "9002"]',
    ]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("buildah") or os.geteuid() != 0, reason="needs buildah and root")
def test_a_builder_makes_an_image_that_passes_from_a_base_with_another_user_and_command(label, tmp_path):
    def buildah(*words):
        storage = ("--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver", "vfs")
        done = subprocess.run(["buildah", *storage, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    base = buildah("from", "scratch")
    buildah("config", "--user", "1000", "--entrypoint", '["myostream"]', "--cmd", "serve", base)
    buildah("commit", "--format", "docker", base, "localhost/myostream")
    out = tmp_path / "out"
    out.mkdir()
    write_package(out, label, "localhost/myostream")
    build, save, _ = map(shlex.split, next_commands(out, label, "localhost/myostream"))
    buildah(*build[1:])
    file, tag = save[-2:]
    buildah("push", tag, f"docker-archive:{file}:{tag}")  # as podman save does
    archive = write_package(out, label, "localhost/myostream", Path(file))
    with zipfile.ZipFile(archive) as read:
        assert read.read(f"{NAME}.tar") == Path(file).read_bytes()


def test_the_next_commands_name_one_image_and_make_this_package_again(label, tmp_path):
    build, save, pack = map(shlex.split, next_commands(tmp_path, make_label("Site.A-1", "1.2.3+b"), "base:1"))
    tag = "openrecon_site.a-1_myostream:v1.2.3-b"
    assert build[-3:] == ["-t", tag, str(tmp_path)]
    assert save[-1] == tag
    assert save[save.index("-o") + 1] == pack[pack.index("--image") + 1]
    assert pack[:3] == ["myostream", "package", "openrecon"]
    assert (pack[pack.index("--vendor") + 1], pack[pack.index("--base") + 1]) == ("Site.A-1", "base:1")


def test_the_next_commands_are_read_back_whatever_the_names(label, tmp_path):
    folder = tmp_path / "a folder's"
    build, save, pack = map(shlex.split, next_commands(folder, label, "base;x"))
    assert build[-1] == pack[-1] == str(folder)
    saved = str(folder / f"{NAME}.tar")
    assert save[save.index("-o") + 1] == pack[pack.index("--image") + 1] == saved
    assert pack[pack.index("--base") + 1] == "base;x"
