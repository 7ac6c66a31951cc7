"""Drawn page: everything lies within it, whatever an examination holds."""

import logging
import math
import threading
from pathlib import Path

import numpy as np
import pytest

from inline.data.examination import Examination
from inline.data.flags import Flag
from inline.data.series import SeriesIdentity
from inline.report import sheet as sheet_module
from inline.report.content import ExaminationInfo, page
from inline.report.drawing import draw, segment_angles
from inline.report.maps import report_maps
from inline.report.output import pixels
from inline.report.sheet import Sheet

from .examinations import make_ecv, make_examination, make_slice

LONG = "心筋 マップ اختبار Ω≈√ $\\alpha_{2}$ <b>&\x07\n " + "sehr lange Beschreibung " * 20


def many():
    levels = ["basal"] * 5 + ["mid"] * 5 + ["apical"] * 5
    kinds = (("T1", "native"), ("T1", "post-contrast"), ("T2", None))
    slices = [make_slice(n, *kind, level, 1.5, 7.0 * n) for n, level in enumerate(levels) for kind in kinds]
    return Examination(tuple(slices), tuple(make_ecv(each) for each in slices[::3]))


def nothing_found():
    bare = {"contours": None, "regions": (), "offsets": None}
    return Examination(
        (
            make_slice(0, level="unknown", flags=(Flag.NO_CAVITY, Flag.REVIEW), **bare),
            make_slice(0, "T2", None, map=None, error="ValueError: " + LONG, **bare),
        )
    )


def flagged():
    return Examination(
        tuple(
            make_slice(
                n,
                level=level,
                flags=tuple(Flag),
                notes=tuple(f"Note {each} of slice {n}: {LONG}" for each in range(6)),
                identity=SeriesIdentity(1, n, LONG, n),
            )
            for n, level in enumerate(("basal", "mid", "apical"))
        )
    )


CASES = {
    "full": lambda: make_examination(z=-12.25),
    "one T1 slice": lambda: Examination((make_slice(),)),
    "T2 alone": lambda: Examination(
        (make_slice(0, "T2", None, "basal"), make_slice(1, "T2", None, "apical"))
    ),
    "many slices": many,
    "nothing found": nothing_found,
    "flags and long texts": flagged,
    "empty": lambda: Examination(()),
}


def texts(figure):
    """Every text of a figure and of its axes."""
    return [*figure.texts, *(each for axes in figure.axes for each in axes.texts)]


@pytest.mark.parametrize("case", CASES)
def test_every_text_lies_on_the_page_and_none_crosses_another(case):
    figure = draw(page(report_maps(CASES[case]()), ExaminationInfo(protocol=LONG, system=LONG)))
    renderer = figure.canvas.get_renderer()
    width, height = figure.bbox.width, figure.bbox.height
    boxes = []
    for text in texts(figure):
        if not text.get_text():
            continue
        box = text.get_window_extent(renderer)
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0.0, text.get_text()
        boxes.append((box, text.get_text()))
    for place, (box, text) in enumerate(boxes):
        for other, words in boxes[place + 1 :]:
            # Half of the smaller height: lines stand close, but are not written over each other.
            deep = min(box.y1, other.y1) - max(box.y0, other.y0)
            wide = min(box.x1, other.x1) - max(box.x0, other.x0)
            crossed = wide > 1 and deep > 0.5 * min(box.height, other.height)
            assert not crossed, f"{text!r} and {words!r}"


def test_what_has_no_room_is_counted():
    words = " ".join(each.get_text() for each in texts(draw(page(report_maps(flagged())))))
    assert "further findings: see the records of the results." in words


def test_a_text_of_any_length_is_drawn_as_its_beginning():
    """One word of a million characters, as a name and as a note: the time does not grow with it."""
    endless = "x" * 1_000_000
    made = make_slice(notes=(endless,), identity=SeriesIdentity(1, 0, endless, 0))
    words = [each.get_text() for each in texts(draw(page(report_maps(Examination((made,))))))]
    assert any(each.startswith("xxx") and each.endswith("…") for each in words)
    assert any("further findings" in each for each in words)


def test_the_characters_are_those_of_the_face_that_is_drawn_with(monkeypatch):
    """Further faces of the same name, such as an extra light one of the system, may have far fewer."""
    from matplotlib import font_manager

    folder = Path(font_manager.__file__).parent / "mpl-data" / "fonts" / "ttf"
    poor = font_manager.FontEntry(fname=str(folder / "cmr10.ttf"), name="DejaVu Sans", weight=200)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist, poor])
    sheet_module._fonts.cache_clear()
    text = "• ≥ ± T₂ Иванов Ελλη Việt"  # all of them in matplotlib's own DejaVu Sans
    assert sheet_module._printable(text) == text
    assert sheet_module._printable("\U00030000") == "□"
    sans = "\U0001d5a0"  # in the regular face alone
    assert sheet_module._printable(sans) == sans
    assert sheet_module._printable(sans, bold=True) == "□"
    sheet_module._fonts.cache_clear()


def test_the_segments_lie_where_the_consensus_draws_them():
    """Cerqueira et al. 2002: anterior above, septum to the left, inferior below, lateral to the right."""
    middle = {}
    for number in range(1, 17):
        start, span = segment_angles(number)
        angle = math.radians(start + span / 2.0)
        middle[number] = (math.cos(angle), math.sin(angle))
    for anterior, inferior in ((1, 4), (7, 10), (13, 15)):
        assert middle[anterior] == pytest.approx((0.0, 1.0))
        assert middle[inferior] == pytest.approx((0.0, -1.0))
    assert middle[14] == pytest.approx((-1.0, 0.0))
    assert middle[16] == pytest.approx((1.0, 0.0))
    for septal in (2, 3, 8, 9):
        assert middle[septal][0] < -0.8
    for lateral in (5, 6, 11, 12):
        assert middle[lateral][0] > 0.8
    assert middle[2][1] > 0 > middle[3][1]
    assert middle[6][1] > 0 > middle[5][1]


def test_marked_values_of_the_segments_stay_within_the_rim():
    levels = ("basal", "mid", "apical")
    kinds = (("T1", "native"), ("T2", None))
    slices = [
        make_slice(n, *kind, level, -12.25, flags=(Flag.REVIEW,))
        for n, level in enumerate(levels)
        for kind in kinds
    ]
    figure = draw(page(report_maps(Examination(tuple(slices))), ExaminationInfo()))
    renderer = figure.canvas.get_renderer()
    drawn = 0
    for axes in figure.axes:
        for text in axes.texts:
            if text.get_text().endswith("*?"):
                corners = text.get_window_extent(renderer).corners()
                assert np.hypot(*axes.transData.inverted().transform(corners).T).max() < 1.02, text.get_text()
                drawn += 1
    assert drawn == 32


def test_marked_values_of_small_bulls_eyes_are_legible():
    levels = [level for level in ("basal", "mid", "apical") for _ in range(5)]
    slices = [
        make_slice(n, *kind, level, -12.25, flags=(Flag.REVIEW,))
        for n, level in enumerate(levels)
        for kind in (("T1", "native"), ("T2", None))
    ]
    figure = draw(page(report_maps(Examination(tuple(slices))), ExaminationInfo()))
    renderer = figure.canvas.get_renderer()
    drawn = 0
    for axes in figure.axes:
        values = [each for each in axes.texts if each.get_text().endswith("*?")]
        boxes = [each.get_window_extent(renderer) for each in values]
        assert all(each.get_fontsize() > 3.8 for each in values)
        for place, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[place + 1 :])
        drawn += len(values)
    assert drawn == 32


def test_threads_draw_the_same_page():
    content = page(report_maps(Examination((make_slice(),))))
    drawn = []
    threads = [threading.Thread(target=lambda: drawn.append(pixels(content))) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert np.array_equal(*drawn)
    assert drawn[0].shape == (1240, 1753, 3)


def test_a_missing_bold_face_is_no_warning_for_the_user(caplog):
    Sheet().width("text", 8.5, bold=True)
    logger = logging.getLogger("matplotlib.font_manager")
    logger.warning("findfont: Failed to find font weight %s for %s, now using %s.", "bold", "Some Font", 400)
    assert not caplog.records
    logger.warning("findfont: Font family %r not found.", "Some Font")
    assert len(caplog.records) == 1
