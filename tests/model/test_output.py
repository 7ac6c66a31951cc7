import errno
import os
import stat
import subprocess
import sys

import pytest

from model.output import OutputError, atomic_output, check_folder, check_outputs, save_figure, write_json


def mode(file):
    return stat.S_IMODE(file.stat().st_mode)


def only(folder):
    return [file.name for file in folder.iterdir()]


def test_a_failure_leaves_the_earlier_file_and_nothing_else(tmp_path):
    file = tmp_path / "out.json"
    file.write_text("earlier")

    def fail(error):
        with atomic_output(file) as beside:
            beside.write_text("half")
            raise error

    with pytest.raises(OutputError) as caught:
        fail(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert (
        str(caught.value)
        == f"{file} could not be written: No space left on device; the earlier file of that name is kept"
    )
    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())
    assert file.read_text() == "earlier"
    assert only(tmp_path) == ["out.json"]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("out.json", "output.write_json(file, list(range(10_000)))"),
        ("out.PDF", "output.save_figure(figure, file)"),
        ("out.png", "output.save_figure(figure, file)"),
    ],
)
def test_a_full_disk(name, write, tmp_path):
    """A limit on the size of files stands for it: the kernel refuses the write in the middle."""
    file = tmp_path / name
    file.write_text("earlier")
    program = (
        "import resource, pathlib, model.output as output\n"
        "from matplotlib.figure import Figure\n"
        f"file, figure = pathlib.Path({str(file)!r}), Figure()\n"
        "figure.subplots().set_title('more than 1000 bytes of fonts')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        f"    {write}\n"
        "except output.OutputError as error:\n"
        "    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "could not be written: File too large" in said.stdout, said.stderr
    assert file.read_text() == "earlier"
    assert only(tmp_path) == [name]


def test_modes(tmp_path):
    before = os.umask(0o022)
    try:
        for name, private in (("public", False), ("private", True)):
            write_json(tmp_path / name, {}, private=private)
        assert [mode(tmp_path / name) for name in ("public", "private")] == [0o644, 0o600]
        for name, private in (("public", False), ("private", True)):
            (tmp_path / name).chmod(0o640)
            write_json(tmp_path / name, {}, private=private)
        assert [mode(tmp_path / name) for name in ("public", "private")] == [0o640, 0o600]
    finally:
        os.umask(before)


def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "there" / "file.json")
    check_outputs(link)
    write_json(link, [1])
    assert link.is_symlink()
    assert (tmp_path / "there" / "file.json").read_text() == "[\n 1\n]\n"


def test_a_figure_without_an_ending_is_a_png_of_that_name(tmp_path):
    class Figure:
        def savefig(self, file, **options):
            file.write(f"{options['format']} {options['dpi']}".encode())

    save_figure(Figure(), tmp_path / "figure", dpi=50)
    save_figure(Figure(), tmp_path / "figure.svg", dpi=60)
    assert (tmp_path / "figure").read_text() == "png 50"
    assert (tmp_path / "figure.svg").read_text() == "svg 60"
    assert sorted(only(tmp_path)) == ["figure", "figure.svg"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda at: at, "is a folder"),
        (lambda at: at / "no" / "out", "there is no folder"),
        (lambda at: at / "input" / "out", "there is no folder"),
        (lambda at: at / ("x" * 300), "File name too long"),
        (lambda _: "/dev/full", "is no regular file"),
        (lambda _: "/proc/out", "cannot be written"),
        (lambda at: at / "input", "would be overwritten"),
        (lambda at: at / ".." / at.name / "input", "would be overwritten"),
        (lambda at: at / "symbolic", "would be overwritten"),
        (lambda at: at / "hard", "would be overwritten"),
    ],
)
def test_targets_that_cannot_be_written(make, said, tmp_path):
    given = tmp_path / "input"
    given.write_text("images")
    (tmp_path / "symbolic").symlink_to(given)
    (tmp_path / "hard").hardlink_to(given)
    with pytest.raises(OutputError, match=said):
        check_outputs(None, type(tmp_path)(make(tmp_path)), inputs=[None, tmp_path / "none", given])
    assert given.read_text() == "images"
    assert sorted(only(tmp_path)) == ["hard", "input", "symbolic"]


def test_two_outputs_of_one_name(tmp_path):
    for other in (tmp_path / "a", tmp_path / "." / "a", tmp_path / "b" / ".." / "a"):
        with pytest.raises(OutputError, match="for two outputs"):
            check_outputs(tmp_path / "a", other)
    check_outputs(tmp_path / "a", tmp_path / "b")
    assert only(tmp_path) == []


def test_folders(tmp_path):
    check_folder(None)
    check_folder(tmp_path / "new" / "folder")
    assert only(tmp_path / "new" / "folder") == []
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="is no folder"):
            check_folder(folder)
    with pytest.raises(OutputError, match="cannot be written"):
        check_folder(type(tmp_path)("/proc/new"))


def test_what_killed_processes_left_is_swept_after_a_day(tmp_path):
    old, fresh, other = (
        tmp_path / name
        for name in (".myostream-0123456789abcdef.h5", ".myostream-fedcba9876543210.h5", ".myostream-notes")
    )
    for file in (old, fresh, other):
        file.write_bytes(b"x")
    for file in (old, other):
        os.utime(file, (0, 0))
    check_outputs(tmp_path / "result.h5")
    assert not old.exists()
    assert fresh.exists()
    assert other.exists()
