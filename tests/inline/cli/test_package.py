"""``myostream package``, as a user types it."""

import json
import zipfile

from typer.testing import CliRunner

from inline.cli.commands import app
from inline.data.version import software_version
from inline.package.label import make_label
from inline.package.openrecon import dockerfile_text
from tests.inline.package.images import ROOT, save_image, write_tar

runner = CliRunner()


LABEL = make_label("myostream", software_version())


def test_openrecon_states_the_next_commands_and_makes_the_archive_of_an_image(tmp_path):
    out = tmp_path / "out"
    image = save_image(tmp_path / "image.tar", LABEL)
    made = runner.invoke(app, ["package", "openrecon", "-o", str(out), "--base", "myostream:1"])
    assert made.exit_code == 0, made.output
    assert f"podman save --format docker-archive -o {out}/OpenRecon_myostream_myostream_V" in made.output
    assert (out / "OpenRecon.dockerfile").read_text() == dockerfile_text(LABEL, "myostream:1")
    made = runner.invoke(app, ["package", "openrecon", "-o", str(out), "--image", str(image)])
    assert made.exit_code == 0, made.output
    (archive,) = out.glob("*.zip")
    assert f"archive to install: {archive}" in made.output
    with zipfile.ZipFile(archive) as read:
        assert {name.rpartition(".")[0] for name in read.namelist()} == {archive.stem}


def test_what_cannot_be_packed_is_one_line(tmp_path):
    image = save_image(tmp_path / "image.tar", LABEL, User="nobody")
    for arguments, problem in (
        (["openrecon", "--vendor", "a b"], "vendor 'a b' cannot be used"),
        (["openrecon", "--image", str(image)], "runs as nobody"),
        (["openrecon", "--base", "myostream\nRUN false"], "cannot be the name of an image"),
        (["fire", str(write_tar(tmp_path / "empty.tar", {"etc": ""}))], "found: none"),
    ):
        made = runner.invoke(app, ["package", *arguments, "-o", str(tmp_path / "out")])
        assert made.exit_code == 1
        assert problem in made.stderr.replace("\n", " ")
        assert list((tmp_path / "out").iterdir()) == []


def test_fire_states_the_next_command(tmp_path):
    rootfs = write_tar(tmp_path / "rootfs.tar", ROOT)
    made = runner.invoke(app, ["package", "fire", str(rootfs), "-o", str(tmp_path / "out")])
    assert made.exit_code == 0, made.output
    assert made.output.strip().endswith(f"make-image.sh {rootfs}")


def test_the_settings_of_the_site_are_in_both_packages_and_in_the_next_command(tmp_path):
    out, site, rootfs = tmp_path / "out", tmp_path / "site.toml", write_tar(tmp_path / "rootfs.tar", ROOT)
    site.write_text("[contours]\nendo_offset_mm = 2.1\n")
    made = runner.invoke(app, ["package", "openrecon", "-o", str(out), "--settings", str(site)])
    assert made.exit_code == 0, made.output
    assert f" --settings {site} --image " in made.output
    parameters = json.loads((out / "OpenReconLabel.json").read_text())["parameters"]
    assert [each["default"] for each in parameters if each["id"] == "endoOffsetMm"] == [2.1]
    made = runner.invoke(app, ["package", "fire", str(rootfs), "-o", str(out), "--settings", str(site)])
    assert made.exit_code == 0, made.output
    (configuration,) = out.rglob("fire_myostream.json")
    assert json.loads(configuration.read_text())["parameters"] == {"config": "mapping", "endo_offset_mm": 2.1}
