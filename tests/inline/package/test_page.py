"""docs/openrecon.md against the packages: files, commands, parameters."""

import re
import zipfile
from pathlib import Path

import typer

from inline.__main__ import app
from inline.package.fire import read_root_filesystem, write_fire
from inline.package.image import START
from inline.package.label import LABEL_NAME, make_label
from inline.package.openrecon import next_commands, write_package
from inline.package.schema import ChoiceParameter
from inline.serving.parameters import parameter_name
from inline.settings import Settings
from tests.inline.package.images import ROOT, save_image, write_tar

PAGE = (Path(__file__).parents[3] / "docs" / "openrecon.md").read_text(encoding="utf-8")
LABEL = make_label("SITE", "0.1.0")


def rows(heading):
    """Cells of the table whose first heading that is."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_the_commands_are_those_that_are_printed():
    for command in next_commands(Path("openrecon"), LABEL, "myostream"):
        assert f"\n{command}\n" in PAGE
    assert LABEL_NAME in PAGE
    assert f"`{' '.join(START)}`" in PAGE


def test_the_files_are_those_that_are_written(tmp_path):
    for name in ("out", "fire"):
        (tmp_path / name).mkdir()
    archive = write_package(tmp_path / "out", LABEL, "myostream", save_image(tmp_path / "image.tar", LABEL))
    stated = {name for row in rows("file") for name in names(row[0])}
    assert {each.name for each in (tmp_path / "out").iterdir()} == stated | {archive.name}
    assert f"`{archive.name}`" in PAGE
    assert [Path(name).suffix for name in zipfile.ZipFile(archive).namelist()] == [".tar", ".pdf"]
    package = write_fire(
        tmp_path / "fire", LABEL, read_root_filesystem(write_tar(tmp_path / "rootfs.tar", ROOT)), Settings()
    )
    assert f"fire/{package.name}/make-image.sh rootfs.tar\n" in PAGE
    table = PAGE.partition("## FIRE")[2].partition("| file |")[2].partition("\n\n")[0]
    stated = {name for line in table.splitlines()[2:] for name in names(line.split("|")[1])}
    written = {str(each.relative_to(package)) for each in package.rglob("*") if each.is_file()}
    assert stated == {*written, "Ice/fire/chroot/myostream-0.1.0.img", "Ice/fire/share/log/"}


def test_the_parameters_are_those_of_the_label():
    stated = {identifier: row for row in rows("parameter") for identifier in names(row[0])}
    assert list(stated) == [each.id for each in LABEL.parameters]
    for each in LABEL.parameters:
        _, kind, values, default, server = stated[each.id]
        assert kind == each.type
        assert each.id == "config" or parameter_name(each.id) in names(server)
        if isinstance(each, ChoiceParameter):
            assert names(values) == [value.id for value in each.values]
            assert names(default) == [each.default]
        elif isinstance(each.default, bool):
            assert default == ("on" if each.default else "off")
        else:
            assert float(default) == each.default
            limits = [float(number) for number in re.findall(r"-?[\d.]+", values.replace(",", ""))]
            assert {each.minimum, each.maximum} <= set(limits)


def test_the_command_of_the_image_is_one_that_the_program_takes():
    serve = typer.main.get_command(app).commands[START[1]]
    options = serve.make_context(START[1], list(START[2:])).params
    assert (options["host"], options["port"]) == ("0.0.0.0", LABEL.reconstruction.port)
