"""Files of a report."""

import stat
from pathlib import Path

import cv2
import pytest

import inline as myostream
from inline.data.examination import Examination
from inline.report.content import page
from inline.report.maps import report_maps
from inline.report.output import ReportError, pixels, report_files, write_report
from model.output import OutputError

from .examinations import make_slice


@pytest.fixture(scope="module")
def content():
    return page(report_maps(Examination((make_slice(),))))


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_equal_results_give_equal_bytes_without_a_date(content, suffix, tmp_path):
    first, second = tmp_path / f"one{suffix}", tmp_path / f"two{suffix.upper()}"
    write_report(first, content)
    write_report(second, content)
    assert first.read_bytes() == second.read_bytes()
    assert b"CreationDate" not in first.read_bytes()
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    if suffix == ".pdf":
        assert first.read_bytes().startswith(b"%PDF")
        assert b"/Count 1" in first.read_bytes()  # one page


def test_a_png_holds_the_pixels_of_the_page(content, tmp_path):
    write_report(tmp_path / "page.png", content)
    read = cv2.imread(str(tmp_path / "page.png"))[:, :, ::-1]
    assert (read == pixels(content)).all()


@pytest.mark.parametrize("name", ["report", "report.jpg", "report.png.gz"])
def test_another_name_is_refused_before_the_drawing(content, name, tmp_path):
    with pytest.raises(ReportError, match=r"it ends in \.png or \.pdf"):
        write_report(tmp_path / name, content)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_one_line(content, tmp_path):
    with pytest.raises(OutputError, match="could not be written"):
        write_report(tmp_path / "none" / "report.png", content)


def test_from_python_again_and_again(tmp_path):
    """The package inline.report must not take the place of the function."""
    for name in ("one.png", "two.png"):
        myostream.write_report(
            [make_slice()], tmp_path / name, info=myostream.ExaminationInfo(date="2026-01-31")
        )
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_folder_receives_both_kinds(tmp_path):
    assert report_files([tmp_path, tmp_path / "own.PNG"]) == [
        tmp_path / "report.png",
        tmp_path / "report.pdf",
        tmp_path / "own.PNG",
    ]


def test_another_name_is_refused():
    with pytest.raises(ReportError, match=r"ends in \.png or \.pdf"):
        report_files([Path("report.docx")])
