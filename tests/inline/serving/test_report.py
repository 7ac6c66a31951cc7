"""Report that goes back at the end of a connection, on request."""

import socket
import time
from dataclasses import replace

import numpy as np
import pytest

from inline.contouring.septum import angular_reference
from inline.data.memory import MemoryBudget
from inline.data.results import SliceLevel
from inline.data.series import SlicePlace
from inline.mrd.image_header import ImageHeader, ImageType
from inline.mrd.messages import Close, ConfigFile, Header, Image, Text
from inline.mrd.protocol import Decoder, encode
from inline.pipeline import Pipeline
from inline.replay.client import exchange
from inline.replay.replies import records
from inline.report.content import ExaminationInfo
from inline.report.output import ReportError
from inline.serving import report as module
from inline.serving import slices
from inline.serving.observers import FinalLevels
from inline.serving.parameters import with_parameters
from inline.serving.report import StudyReport
from inline.serving.summary import FinalLevel
from inline.settings import load_settings
from model.relaxometry.parametric_map import ParametricMap
from tests.inline.contrast_phantom import NATIVE, ONE_BY_ONE, at_places, molli

from ..report.examinations import make_ecv, make_slice


def pages(images):
    return [image for image in images if b"myostream_REPORT" in image.attributes]


@pytest.fixture
def drawing(monkeypatch):
    """Pages that are drawn, without drawing them."""
    drawn = []

    def noted(page, **_):
        drawn.append(page)
        return np.full((4, 6, 3), 200, np.uint8)

    monkeypatch.setattr(module, "drawn_apart", noted)
    return drawn


def test_the_page_comes_after_the_results_of_all_slices(serving, examination, drawing):
    _, header, images = examination
    with serving(emit={"report": True}) as server:
        replies = exchange(server.address, header, images)
    (page,) = drawing
    assert [each.name for each in page.columns] == ["Basal", "Apical"]
    assert all(len(each.maps) == 2 for each in page.columns)
    assert dict(page.facts)["Scanner"] == "simulated, 1.5 T"
    assert dict(page.provenance)["Network"].endswith(", ring")
    found = pages(replies.images)
    assert found == replies.images[-1:]
    assert found[0].header.image_type == ImageType.RGB
    assert found[0].pixels.shape == (3, 1, 4, 6)
    assert found[0].header.image_series_index == 5019
    assert len({image.header.image_series_index for image in replies.images}) == 2 + 2 * 3 + 1


XML = """<ismrmrdHeader><studyInformation><studyInstanceUID>1.2.{study}</studyInstanceUID></studyInformation>
<measurementInformation><protocolName>{protocol}</protocolName></measurementInformation></ismrmrdHeader>"""


def received(server, *messages):
    """Send the messages on one connection; return what came back."""
    found, decoder = [], Decoder()
    with socket.create_connection(server.address, timeout=60) as connection:
        connection.sendall(b"".join(map(encode, (ConfigFile("mapping"), *messages, Close()))))
        while data := connection.recv(1 << 20):
            found += decoder.receive(data)
    return found


def test_each_study_of_a_connection_has_a_page_of_its_own(serving, examination, drawing):
    """Both patients' slices lie at one place; the first study goes on after the second one."""
    first, second = ([each for each in examination[2] if each.header.slice == n] for n in (0, 1))
    with serving(emit={"report": True}) as server:
        replies = received(
            server,
            *(Header(XML.format(study=1, protocol="one")), *first),
            *(Header(XML.format(study=2, protocol="two")), *first, *second),
            *(Header(XML.format(study=1, protocol="again")), *second),
            Header(XML.format(study=3, protocol="none")),
        )
    assert [dict(page.facts)["Examination"] for page in drawing] == ["again", "two"]
    assert [len(page.columns) for page in drawing] == [2, 2]
    assert not [finding for page in drawing for finding in page.findings if "results" in finding]
    images = [each for each in replies if isinstance(each, Image)]
    found = pages(images)
    assert found == images[-2:]
    # The series of both have the same numbers.
    assert [(each.header.image_series_index, each.header.image_index) for each in found] == [
        (5019, 1),
        (5019, 2),
    ]


def test_a_page_that_fails_keeps_no_other_one_back(serving, examination, monkeypatch):
    drawn = []

    def draw(page, **_):
        drawn.append(page)
        if len(drawn) == 1:
            raise ReportError("the report was not drawn: no reason")
        return np.full((4, 6, 3), 200, np.uint8)

    monkeypatch.setattr(module, "drawn_apart", draw)
    images = examination[2][:8]
    with serving(emit={"report": True}) as server:
        replies = received(
            server,
            *(Header(XML.format(study=1, protocol="one")), *images),
            *(Header(XML.format(study=2, protocol="two")), *images),
        )
    assert len(pages([each for each in replies if isinstance(each, Image)])) == 1
    assert sum(isinstance(each, Text) and "not drawn" in each.text for each in replies) == 1


def test_all_pages_of_a_connection_share_one_deadline(serving, examination, monkeypatch):
    given = []

    def draw(page, *, timeout_s, cancelled):
        given.append(timeout_s)
        time.sleep(0.3)
        return np.full((4, 6, 3), 200, np.uint8)

    monkeypatch.setattr(module, "drawn_apart", draw)
    monkeypatch.setattr(module, "_PAGES_S", 10.0)
    images = examination[2][:8]
    headers = [Header(XML.format(study=number, protocol="one")) for number in range(3)]
    with serving(emit={"report": True}) as server:
        received(server, *(each for header in headers for each in (header, *images)))
    assert len(given) == 3
    assert given[0] <= 10.0
    assert given[1] <= given[0] - 0.3
    assert given[2] <= given[1] - 0.3


def test_a_page_after_the_deadline_is_a_text(serving, examination, drawing, monkeypatch):
    monkeypatch.setattr(module, "_PAGES_S", 0.0)
    with serving(emit={"report": True}) as server:
        replies = exchange(server.address, examination[1], examination[2])
    assert not drawing
    assert any("not drawn: those before it took" in each for each in replies.texts)


def test_the_studies_with_a_page_are_limited(serving, examination, drawing, monkeypatch):
    monkeypatch.setattr(module, "_MOST_PAGES", 2)
    images = examination[2][:8]
    headers = [Header(XML.format(study=number, protocol=f"p{number}")) for number in range(4)]
    with serving(emit={"report": True}) as server:
        replies = received(server, *(each for header in headers for each in (header, *images)))
    assert [dict(page.facts)["Examination"] for page in drawing] == ["p0", "p1"]
    texts = [each.text for each in replies if isinstance(each, Text)]
    assert sum("only the first 2 studies of a connection have a report" in each for each in texts) == 1


@pytest.fixture
def shares(monkeypatch):
    """Memory of the connections."""
    made, connection = [], MemoryBudget.connection
    monkeypatch.setattr(
        MemoryBudget, "connection", lambda budget: made.append(connection(budget)) or made[-1]
    )
    return made


def test_the_memory_of_a_page_that_is_not_drawn_is_given_back(
    serving, examination, drawing, monkeypatch, shares
):
    kept, add = [], StudyReport.add
    monkeypatch.setattr(StudyReport, "add", lambda *given: kept.append(given) or add(*given))
    on, off = (Text(f'{{"report": {value}}}') for value in ("true", "false"))
    with serving() as server:
        other = Header(XML.format(study=2, protocol="two"))
        received(server, Header(examination[1]), on, *examination[2], other, off)
    assert kept
    assert drawing == []
    assert [share.held for share in shares] == [0]


def test_it_is_off_by_default(serving, examination, drawing):
    _, header, images = examination
    with serving() as server:
        replies = exchange(server.address, header, images[:8])
    assert pages(replies.images) == drawing == []


def test_a_client_may_ask_for_it():
    settings, problems = with_parameters(load_settings(), {"report": "true"})
    assert settings.emit.report
    assert problems == []


def test_a_failed_page_is_a_text_and_loses_nothing(serving, examination, monkeypatch):
    def fail(*_, **__):
        raise ReportError("the report was not drawn: no reason")

    monkeypatch.setattr(module, "drawn_apart", fail)
    _, header, images = examination
    with serving(emit={"report": True}) as server:
        replies = exchange(server.address, header, images)
    assert [text for text in replies.texts if "not drawn" in text] == [
        "WRN myostream: the report was not drawn: no reason"
    ]
    assert len(replies.images) == len(images) + 2 * 2 * 3
    assert "results" in replies.texts[-1]  # the summary


def test_an_unexpected_error_does_not_keep_the_summary_back(
    serving, examination, monkeypatch, caplog, shares
):
    monkeypatch.setattr(module, "drawn_apart", lambda *_, **__: 1 / 0)
    _, header, images = examination
    with serving(emit={"report": True}) as server:
        replies = exchange(server.address, header, images[:8])
    assert "the log of the server has the reason" in replies.texts[-2]
    assert "ZeroDivisionError" in caplog.text
    assert [share.held for share in shares] == [0]


def test_a_result_that_cannot_be_kept_goes_out(serving, examination, monkeypatch, caplog):
    monkeypatch.setattr(StudyReport, "add", lambda *_: 1 / 0)
    _, header, images = examination
    with serving(emit={"report": True}) as server:
        replies = exchange(server.address, header, images[:8])
    assert len(replies.images) == 8 + 3
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("along", [(0.0, 20.0, 40.0), (0.0, 40.0, 80.0)])
def test_values_are_those_of_the_final_levels(serving, drawing, along):
    """Each slice is a series: as the results of the first two went out, their levels were others."""
    images = []
    for number, place in enumerate(along):
        ring = molli({**NATIVE, "wall": 1000.0 + 100.0 * number}, 1, name="T1 MOLLI native")
        images += at_places(ring, number + 1, [place])
    with serving(**ONE_BY_ONE, emit={"report": True}) as server:
        replies = exchange(server.address, XML.format(study=1, protocol="one"), images)
    sent = {record["series_index"]: record["level"] for record, _ in records(replies.images)}
    assert sent[1] == "unknown"
    assert "Levels: basal: series 1 slice 0 (T1); mid: series 2 slice 0" in replies.texts[-1]
    (page,) = drawing
    assert [each.name for each in page.columns] == ["Basal", "Mid", "Apical"]
    (eye,) = page.bulls_eyes
    rings = {1000.0: range(1, 7), 1100.0: range(7, 13), 1200.0: range(13, 17)}
    expected = {number: value for value, numbers in rings.items() for number in numbers}
    assert {number: each.value for number, each in eye.segments.items()} == pytest.approx(expected, rel=0.005)


def test_page_and_summary_have_the_same_levels_computed_once(serving, examination, drawing, monkeypatch):
    _, header, images = examination
    found, levels = [], slices.final_levels
    monkeypatch.setattr(slices, "final_levels", lambda *given: found.append(given) or levels(*given))
    with serving(emit={"report": True}) as server:
        exchange(server.address, header, images)
    assert len(found) == len(drawing) == 1


def final(results, levels, session="a"):
    places = [SlicePlace(each.identity, each.quantity, None, each.geometry, session) for each in results]
    known = (FinalLevel(*each, "position") for each in zip(places, map(SliceLevel, levels), strict=True))
    return FinalLevels(1, tuple(known), Pipeline(None).at_level)


@pytest.mark.parametrize(("level", "names"), [("basal", ["AHA 1 basal anterior"]), ("apical", [])])
def test_ecv_has_the_final_level_of_its_native_slice(drawing, level, names):
    """Between basal and mid its segments are renamed; others are left out, which a note states."""
    report, native = StudyReport(MemoryBudget(1 << 30, 1 << 30, 1).connection()), make_slice(1, level="mid")
    report.add(make_ecv(native), ImageHeader())
    report.at_levels(final([make_slice(0), native], ["mid", level]), "b")
    report.image(ExaminationInfo(), 1)
    ((ecv,),) = [each.maps.values() for each in drawing[0].columns]
    assert ecv.section is not None
    assert ecv.level == level
    assert [each.name for each in ecv.regions if each.name.startswith("AHA")][:1] == names
    assert any("No segments of ECV" in each for each in drawing[0].findings) == (not names)


def test_a_scanner_made_map_has_its_final_level_without_the_pixels_that_have_no_value(drawing):
    made = make_slice(0, level="mid", scanner_made=True)
    values = made.map.values_ms.copy()
    values[60, 83:88] = 4095.0  # of the wall, in radii of 18 to 25 about (64, 60)
    report = StudyReport(MemoryBudget(1 << 30, 1 << 30, 1).connection())
    septum = angular_reference(made.geometry, 160.0)
    report.add(replace(made, map=ParametricMap.of_values(values), septum=septum), ImageHeader())
    report.at_levels(final([made], ["apical"]), "a")
    report.image(ExaminationInfo(), 1)
    ((shown,),) = [each.maps.values() for each in drawing[0].columns]
    assert shown.level == "apical"
    assert "AHA 13 apical anterior" in {each.name for each in shown.regions}
    assert shown.regions[0].spread < 100.0


def test_a_map_that_fails_at_its_final_level_keeps_no_other_one_back(drawing, caplog):
    names = ("apical", "mid", "mid")
    results = [make_slice(number, level=name, at_mm=20.0 * number) for number, name in enumerate(names)]

    def measure(result, level, source):
        assert result.identity != results[1].identity, "no regions"
        return replace(result, level=level, level_source=source)

    report = StudyReport(MemoryBudget(1 << 30, 1 << 30, 1).connection())
    for each in results:
        report.add(each, ImageHeader())
    levels = replace(final(results, ["basal", "basal", "apical"]), measure=measure)
    report.at_levels(levels, "a")
    report.image(ExaminationInfo(), 1)
    shown = [each.level for column in drawing[0].columns for each in column.maps.values()]
    assert shown == ["basal", "mid", "apical"]
    assert "a map of the report has not its final level" in caplog.text


@pytest.mark.slow
def test_another_process_draws_the_page_of_a_connection(serving, examination, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 300.0)
    _, header, images = examination
    with serving(emit={"report": True}) as server:
        replies = exchange(server.address, header, images[:8])
    (image,) = pages(replies.images)
    assert image.pixels.shape == (3, 1, 1240, 1753)
    assert image.pixels.max() == 255
    assert len(np.unique(image.pixels)) > 50


def test_results_are_counted_as_memory_and_dropped_beyond_it(drawing):
    size = make_slice().map.values_ms.nbytes
    share = MemoryBudget(2 * size, 2 * size, 1).connection()
    report = StudyReport(share)
    for number in range(5):
        report.add(make_slice(number), ImageHeader())
    report.add(make_ecv(make_slice()), ImageHeader())
    assert 0 < report.dropped < 6
    assert share.held > 0
    report.image(ExaminationInfo(), 1)
    assert len(drawing[0].slices) > 0
    report.release()
    assert share.held == 0
    report.add(make_ecv(make_slice()), ImageHeader())  # of a late slice
    report.release()
    assert share.held == 0


def test_results_without_pixels_are_counted_too():
    report = StudyReport(MemoryBudget(1 << 20, 1 << 20, 1).connection())
    bare = replace(make_slice(), map=None, contours=None)
    for _ in range(1000):
        report.add(bare, ImageHeader())
    assert 0 < report.dropped < 1000


def test_without_results_there_is_no_page(drawing):
    report = StudyReport(MemoryBudget(1 << 30, 1 << 30, 1).connection())
    assert report.image(ExaminationInfo(), 1) is None
    assert drawing == []


def test_the_counters_of_the_page_are_its_own(drawing):
    report = StudyReport(MemoryBudget(1 << 30, 1 << 30, 1).connection())
    template = replace(ImageHeader(), slice=7, set=3, contrast=2, flags=64, image_index=9)
    report.add(make_slice(), template)
    header = report.image(ExaminationInfo(), 5019).header
    assert (header.slice, header.set, header.contrast, header.flags, header.image_index) == (0, 0, 0, 0, 1)
    assert header.field_of_view[0] / header.matrix_size[0] == pytest.approx(
        header.field_of_view[1] / header.matrix_size[1]
    )
