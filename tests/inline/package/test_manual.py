"""Manual: whole text on its pages, in step with the docs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from inline.data.flags import Flag
from inline.package.manual import manual, write_manual

DOCS = Path(__file__).parents[3] / "docs"


def plain(text):
    return re.sub(r"\s+", " ", text)


def test_equal_labels_give_equal_bytes_without_a_date(label, tmp_path):
    write_manual(tmp_path / "one.pdf", label)
    write_manual(tmp_path / "two.pdf", label)
    content = (tmp_path / "one.pdf").read_bytes()
    assert content == (tmp_path / "two.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"CreationDate" not in content


def test_the_manual_states_every_parameter_every_flag_and_the_purpose(label):
    text = "\n".join(" ".join(block.cells) for block in manual(label))
    assert "Not a medical device" in text
    for each in label.parameters:
        assert f"{each.label.en} {each.information.en}" in text
    for flag in Flag:
        assert f"\n{flag} " in text
    assert "Range: -5.0 to 5.0 mm. Default: 1.5 mm." in text
    assert "Default: Maps and contours." in text


def test_the_limits_of_the_method_are_those_of_the_docs(label):
    cells = [block.cells for block in manual(label)]
    begin = cells.index(("Limits of the method",)) + 1
    limits = [each[1] for each in cells[begin : cells.index(("Flags",))]]
    assert len(limits) > 3
    page = plain((DOCS / "limits.md").read_text())
    assert [each for each in limits if each not in page] == []


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="needs pdftotext of poppler-utils")
def test_every_word_is_on_a_page(label, tmp_path):
    file = tmp_path / "manual.pdf"
    write_manual(file, label)
    boxes = subprocess.run(
        ["pdftotext", "-bbox", file, "-"], capture_output=True, text=True, check=True
    ).stdout
    words = re.findall(r'xMin="(\S+)" yMin="(\S+)" xMax="(\S+)" yMax="(\S+)">(.*?)</word>', boxes)
    for left, top, right, bottom, word in words:
        assert 60 < float(left) < float(right) < 595 - 60, word
        assert 40 < float(top) < float(bottom) < 842 - 25, word
    shown = subprocess.run(
        ["pdftotext", "-raw", file, "-"], capture_output=True, text=True, check=True
    ).stdout
    for block in manual(label):
        for cell in block.cells:
            missing = [word for word in cell.split() if word not in shown]
            assert missing == []
