"""Files of a report."""

import stat

import cv2
import pytest

from inline.data.examination import Examination
from inline.report.content import page
from inline.report.maps import report_maps
from inline.report.output import ReportError, pixels, write_report
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


def test_a_png_holds_the_pixels_of_the_page(content, tmp_path):
    write_report(tmp_path / "page.png", content)
    read = cv2.imread(str(tmp_path / "page.png"))[:, :, ::-1]
    assert (read == pixels(content)).all()


def test_a_pdf_has_one_page(content, tmp_path):
    write_report(tmp_path / "page.pdf", content)
    data = (tmp_path / "page.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert b"/Count 1" in data


@pytest.mark.parametrize("name", ["report", "report.jpg", "report.png.gz"])
def test_another_name_is_refused_before_the_drawing(content, name, tmp_path):
    with pytest.raises(ReportError, match=r"it ends in \.png or \.pdf"):
        write_report(tmp_path / name, content)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_one_line(content, tmp_path):
    with pytest.raises(OutputError, match="could not be written"):
        write_report(tmp_path / "none" / "report.png", content)
