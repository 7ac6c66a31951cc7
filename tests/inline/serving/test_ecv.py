"""ECV through the server: native and post-contrast on one connection, on two, and within the memory limit."""

import json
import re
import socket
from dataclasses import replace
from time import monotonic, sleep
from types import SimpleNamespace

import numpy as np
import pytest

from inline.data.flags import Flag
from inline.data.series import SeriesIdentity, SlicePlace
from inline.emit.record import ECV_ATTRIBUTE
from inline.examination.haematocrits import HaematocritFile
from inline.mrd.header import MeasurementHeader, identity
from inline.mrd.messages import Close, ConfigFile, Header, Image, Text
from inline.mrd.protocol import Decoder, encode
from inline.pipeline import Pipeline
from inline.replay.client import exchange
from inline.replay.replies import compare, ecv_records, records
from inline.serving.kept import KeptSlices
from inline.serving.observers import Delivery, EcvDelivery, Observer, Observers
from inline.serving.studies import Studies, Study
from inline.settings import Settings, load_settings
from tests.inline import contrast_phantom as phantom
from tests.inline.contrast_phantom import ONE_BY_ONE, PARTITION, QUICK, at_places, molli
from tests.inline.examination.phantom import NO_RANGES, t1_slice
from tests.inline.serving.gated import Gated

XML = """<ismrmrdHeader><studyInformation><studyInstanceUID>1.2.{study}</studyInstanceUID></studyInformation>
<acquisitionSystemInformation><systemFieldStrength_T>1.5</systemFieldStrength_T></acquisitionSystemInformation>
</ismrmrdHeader>"""
NATIVE = molli(phantom.NATIVE, 1, name="T1 MOLLI native")
POST = molli(phantom.POST, 2, name="T1 MOLLI post", series_clock=1)


def sent(server, images, study=7, **more):
    found = exchange(server.address, XML.format(study=study), images, **more)
    return compare(images, found.images).added, found.texts


def value(added):
    ((record, _),) = ecv_records(added)
    return record["regions"][0]["median"], record


@pytest.mark.parametrize("images", [[*NATIVE, *POST], [*POST, *NATIVE]], ids=["native first", "post first"])
def test_ecv_of_one_connection_with_the_haematocrit_of_its_parameter(serving, images):
    with serving(**QUICK) as server:
        added, texts = sent(server, images, parameters={"haematocrit": 0.42})
    median, record = value(added)
    assert median == pytest.approx(100.0 * 0.58 * PARTITION, abs=0.3)
    assert record["flags"] == []
    assert (record["native"]["series_index"], record["post_contrast"]["series_index"]) == (1, 2)
    assert record["pairing"] == "series description"
    assert [each["enhancement"] for each, _ in records(added)] == ["native", "post-contrast"]
    (image,) = [each for each in added if ECV_ATTRIBUTE.encode() in each.attributes]
    assert np.median(image.pixels[0, 0][image.pixels[0, 0] > 0]) > 100  # tenths of a percent
    assert not [text for text in texts if "ECV" in text]


class Watching(Observer):
    """Keeps the events of ECV and levels, in their order."""

    def __init__(self):
        self.events = []

    def delivered(self, delivery):
        self.events.append(delivery)

    ecv_delivered = levels_known = delivered


def test_an_observer_gets_ecv_after_its_slices_and_what_found_no_partner_at_the_close(serving):
    watching = Watching()
    with serving(observers=Observers(watching), **QUICK) as server:
        added, _ = sent(server, [*NATIVE, *POST], parameters={"haematocrit": 0.42})
        sent(server, POST, study=8)
    kinds = [type(each).__name__ for each in watching.events]
    first, second = ["Delivery", "Delivery", "EcvDelivery", "FinalLevels"], ["Delivery", "FinalLevels"]
    assert kinds == [*first, *second, "EcvDelivery"]
    ecv, lonely = [each for each in watching.events if isinstance(each, EcvDelivery)]
    assert ecv.result.regions[0].median == pytest.approx(value(added)[0], abs=1e-3)
    assert lonely.result.flags == (Flag.NO_NATIVE,)
    assert ecv.study == watching.events[0].study != lonely.study == watching.events[4].study


def test_ecv_of_two_connections_of_one_study(serving):
    with serving(**QUICK) as server:
        first, texts = sent(server, NATIVE)
        assert ecv_records(first) == []
        assert not [text for text in texts if "ECV" in text]
        other, texts = sent(server, POST, study=8)
        assert ecv_records(other) == []
        assert any("ECV of series 2 slice 0: there is no native T1 map" in text for text in texts)
        added, _ = sent(server, POST, parameters={"haematocrit": "0.40"})
    median, record = value(added)
    assert median == pytest.approx(100.0 * 0.60 * PARTITION, abs=0.3)
    assert record["haematocrit_source"] == "given"


def test_the_file_has_the_haematocrit_of_each_study_unless_the_client_states_one(serving, tmp_path):
    listed = tmp_path / "haematocrits.csv"
    listed.write_text("study_uid,haematocrit\n1.2.8,0.50\n")
    with serving(**QUICK, ecv={"haematocrits": listed, "haematocrit": 0.3}) as server:

        def of(study, **parameters):
            found, _ = sent(server, [*NATIVE, *POST], study=study, parameters=parameters)
            return ecv_records(found)[-1][0]

        made = [of(7)]
        with listed.open("a") as opened:
            opened.write("1.2.7,0.42\n1.2.9,42\n")
        made += [of(7, haematocrit_percent=0), of(9), of(8, haematocrit=0.4)]
    found = [(each["haematocrit"], each["haematocrit_source"]) for each in made]
    unlisted, of_line, broken, stated = made
    assert found == [(0.3, "given"), (0.42, "file"), (None, None), (0.4, "given")]
    assert "The file of ecv.haematocrits has no line for this study." in unlisted["notes"]
    assert of_line["regions"][0]["median"] == pytest.approx(100.0 * 0.58 * PARTITION, abs=0.3)
    assert any("Line 4" in each and "its haematocrit is no number" in each for each in broken["notes"])
    assert not any("ecv.haematocrits" in each for each in of_line["notes"])
    assert any("0.4 of the client is used, but the file" in each for each in stated["notes"])


def ecv_by_file(tmp_path, engine, headers, content, settings=None, *, stated=False):
    """Notes and haematocrit of the ECV of native and post-contrast slices with some headers, in turn."""
    (tmp_path / "h.csv").write_text(content)
    kept, studies = KeptSlices(1 << 30, HaematocritFile(tmp_path / "h.csv")), Studies()
    pipeline, made = Pipeline(engine), []
    for number, pair in enumerate(headers):
        for post, header in zip((False, True), pair, strict=True):
            place = SlicePlace(SeriesIdentity(1 + post, 0), "T1", 1, None, session=str(number))
            found = kept.add(
                studies.of(header),
                t1_slice(post=post),
                place,
                settings or Settings(),
                pipeline,
                haematocrit_stated=stated,
                identities=header.identities,
            )
        made.append((found.haematocrit and found.haematocrit.value, found.notes))
    return made


@pytest.mark.parametrize("frames", [("", ""), ("1.2.4", "1.2.5")], ids=["no frame", "other frames"])
def test_a_study_uid_that_came_with_another_patient_has_no_line(tmp_path, ring_engine, frames):
    one, other = (
        MeasurementHeader(study_uid="1.2.3", frame_of_reference_uid=frame, patient_id=patient)
        for frame, patient in zip(frames, (b"A", b"B"), strict=True)
    )
    headers = [(one, one), (other, other), (one, one)]
    made = ecv_by_file(tmp_path, ring_engine, headers, "study_uid,haematocrit\n1.2.3,0.42\n")
    assert [haematocrit for haematocrit, _ in made] == [0.42, None, None]
    assert all(any("with several patients" in note for note in notes) for _, notes in made[1:])


@pytest.mark.parametrize(
    ("lines", "value"),
    [("A1,0.3\nA2,0.5\n", None), ("A1,0.3\n", 0.3), ("A2,0.5\n", 0.5), ("A1,0.3\nA2,0.3\n", 0.3)],
)
@pytest.mark.parametrize("order", [("A1", "A2"), ("A2", "A1")])
def test_series_of_one_study_with_two_accession_numbers_have_one_haematocrit_or_none(
    tmp_path, ring_engine, lines, value, order
):
    pair = [
        MeasurementHeader(study_uid="1.2.3", accession_number=identity("accession_number", each))
        for each in order
    ]
    ((found, _),) = ecv_by_file(tmp_path, ring_engine, [pair], f"accession_number,haematocrit\n{lines}")
    assert found == value


@pytest.mark.parametrize(("listed", "contradicts"), [(0.32, True), (0.4996, False), (0.7, False)])
def test_a_number_of_the_client_that_contradicts_the_file_is_used_with_a_note(
    tmp_path, ring_engine, listed, contradicts
):
    header, settings = MeasurementHeader(study_uid="1.2.3"), Settings(ecv={"haematocrit": 0.5})
    content = f"study_uid,haematocrit\n1.2.3,{listed}\n"
    ((found, notes),) = ecv_by_file(tmp_path, ring_engine, [(header, header)], content, settings, stated=True)
    assert found == 0.5
    assert any("0.5" in note and "0.32" in note for note in notes) == contradicts
    assert any("ecv.haematocrits" in note for note in notes) == contradicts


@pytest.mark.parametrize("along", [(0.0, 40.0, 80.0), (0.0, 20.0, 40.0)])
@pytest.mark.parametrize("first", ["native", "post"])
def test_ecv_has_the_level_known_when_it_is_made(serving, along, first):
    """Each slice is a series: as the results of the first two went out, their levels were others."""
    native, post = list(at_places(NATIVE, 1, along)), list(at_places(POST, 11, along))
    both = [native, post] if first == "native" else [post, native]
    with serving(**ONE_BY_ONE) as server:
        sent(server, both[0])
        added, _ = sent(server, both[1], parameters={"haematocrit": 0.42})
    found = {record["native"]["series_index"]: record for record, _ in ecv_records(added)}
    assert {series: record["level"] for series, record in found.items()} == {
        1: "basal",
        2: "mid",
        3: "apical",
    }
    segments = [
        [each["name"] for each in found[number]["regions"] if "AHA" in each["name"]] for number in (1, 2, 3)
    ]
    assert [len(names) for names in segments] == [6, 6, 4]
    assert [names[0] for names in segments] == [
        "AHA 1 basal anterior",
        "AHA 7 mid anterior",
        "AHA 13 apical anterior",
    ]


def test_a_late_slice_is_a_partner_although_nobody_subscribes(serving, ring_engine):
    gate = Gated(ring_engine)
    with serving(gate, **QUICK) as server:
        late, _ = sent(server, NATIVE, parameters={"budget_ms": 3000})
        assert [(each["flags"], each["contours"]) for each, _ in records(late)] == [(["late"], None)]
        gate.open.set()
        # Else the late slice could be the one that completes the pair, after its connection.
        end = monotonic() + 30
        while not any(
            each.result.contours is not None
            for kept in list(server.service.kept._kept.values())
            for each in kept
        ):
            assert monotonic() < end
            sleep(0.02)
        added, texts = sent(server, POST, parameters={"haematocrit": 0.42})
    assert value(added)[0] == pytest.approx(100.0 * 0.58 * PARTITION, abs=0.3)
    assert not [text for text in texts if "ECV" in text]


def test_the_ecv_of_a_late_slice_has_the_level_known_when_it_is_made(serving, ring_engine):
    """It comes after the close; as its slice was complete, no other position was known."""
    gate, watching = Gated(ring_engine), Watching()
    gate.open.set()
    with serving(gate, observers=Observers(watching), **QUICK) as server:
        sent(server, list(at_places(POST, 11, [0.0])), parameters={"haematocrit": 0.42})
        gate.open.clear()
        for series, along in ((1, [0.0]), (12, [40.0, 80.0])):
            images = at_places(NATIVE if series == 1 else POST, series, along)
            sent(server, list(images), parameters={"budget_ms": 1500, "haematocrit": 0.42})
        gate.open.set()
        found, end = [], monotonic() + 30
        while not found and monotonic() < end:
            sleep(0.02)
            found = [e for e in watching.events if isinstance(e, EcvDelivery) and not e.result.error]
    late = [e.result for e in watching.events if isinstance(e, Delivery) and e.latecomer]
    assert [each.level for each in late if each.identity.series_index == 1] == ["unknown"]
    assert found[0].result.level == "basal"
    assert "AHA 1 basal anterior" in [each.name for each in found[0].result.regions]


def test_the_ecv_that_a_late_slice_completes_goes_back(serving, ring_engine):
    gate, watching = Gated(ring_engine), Watching()
    gate.open.set()

    def wait_for(condition):
        end = monotonic() + 30
        while not any(map(condition, list(watching.events))) and monotonic() < end:
            sleep(0.02)

    def native():
        yield from NATIVE
        wait_for(lambda event: isinstance(event, Delivery) and Flag.LATE in event.result.flags)
        gate.open.set()
        wait_for(lambda event: isinstance(event, EcvDelivery) and not event.result.error)

    with serving(gate, observers=Observers(watching), **QUICK) as server:
        sent(server, POST, parameters={"haematocrit": 0.42})
        gate.open.clear()
        found = exchange(server.address, XML.format(study=7), native(), parameters={"budget_ms": 3000})
    added = compare(NATIVE, found.images).added
    assert [(each["flags"], each["contours"]) for each, _ in records(added)] == [(["late"], None)]
    median, record = value(added)
    assert median == pytest.approx(100.0 * 0.58 * PARTITION, abs=0.3)
    assert (record["native"]["series_index"], record["post_contrast"]["series_index"]) == (1, 2)
    assert not [text for text in found.texts if "ECV of series" in text]


@pytest.mark.parametrize(("haematocrit", "stated"), [({"haematocrit": 0.42}, 0.58 * PARTITION), ({}, None)])
def test_the_ecv_of_a_late_slice_is_in_the_log_where_its_connection_has_ended(
    haematocrit, stated, serving, ring_engine, caplog
):
    gate = Gated(ring_engine)
    gate.open.set()
    with serving(gate, **QUICK) as server:
        sent(server, POST, parameters=haematocrit)
        gate.open.clear()
        added, _ = sent(server, NATIVE, parameters={"budget_ms": 3000})
        gate.open.set()
        end = monotonic() + 30
        while not (lines := re.findall("ECV of series 1 .*not sent.*", caplog.text)) and monotonic() < end:
            sleep(0.02)
    assert ecv_records(added) == []
    (line,) = lines
    found = re.search(r"(median|partition coefficient) ([0-9.]+)", line)
    if stated:
        assert found[1] == "median"
        assert float(found[2]) == pytest.approx(100.0 * stated, abs=0.3)
    else:
        assert found[1] == "partition coefficient"
        assert float(found[2]) == pytest.approx(PARTITION, abs=0.005)


def test_a_partner_that_was_late_and_never_came_is_named(serving, ring_engine):
    gate, watching = Gated(ring_engine), Watching()
    with serving(gate, observers=Observers(watching), **QUICK) as server:
        _, texts = sent(server, [*NATIVE, *POST], parameters={"budget_ms": 3000})
        gate.open.set()
    (native, post) = [text for text in texts if "ECV of series" in text]
    assert "ECV of series 1 slice 0: the native slice missed its budget and has no contours" in native
    assert "ECV of series 2 slice 0: the post-contrast slice missed its budget and has no" in post


def test_the_haematocrit_of_the_native_connection_holds_too(serving):
    with serving(**QUICK) as server:
        sent(server, NATIVE, parameters={"haematocrit": 0.42})
        median, _ = value(sent(server, POST)[0])
    assert median == pytest.approx(100.0 * 0.58 * PARTITION, abs=0.3)


def test_a_haematocrit_in_percent_is_reported_and_not_used(serving):
    with serving(**QUICK) as server:
        added, texts = sent(server, [*NATIVE, *POST], parameters={"haematocrit": 42})
    median, record = value(added)
    assert median is None
    assert record["flags"] == ["no-haematocrit"]
    assert record["regions"][0]["partition_coefficient"] == pytest.approx(PARTITION, abs=0.005)
    assert any("give 0.42 for 42 %" in text for text in texts)


def streamed(server, *messages):
    """Records of ECV that come back on one connection."""
    found, decoder = [], Decoder()
    with socket.create_connection(server.address, timeout=60) as connection:
        connection.sendall(b"".join(map(encode, (ConfigFile("mapping"), *messages, Close()))))
        while data := connection.recv(1 << 20):
            found += [each for each in decoder.receive(data) if isinstance(each, Image)]
    images = [each for each in found if ECV_ATTRIBUTE.encode() in each.attributes]
    return [json.loads(each.meta()[ECV_ATTRIBUTE][0]) for each in images]


def test_a_haematocrit_is_of_one_patient_on_a_connection_for_several(serving):
    """Each measurement ends with the header of the next one, after the parameters of that."""
    messages = [
        *(Header(XML.format(study=1)), Text('{"haematocrit": 0.42}'), *NATIVE, *POST),
        *(Text('{"haematocrit": 0.30}'), Header(XML.format(study=2)), *NATIVE, *POST),
        *(Header(XML.format(study=3)), *NATIVE, *POST),
    ]
    with serving() as server:
        assert [each["haematocrit"] for each in streamed(server, *messages)] == [0.42, 0.30, None]


def test_native_and_post_contrast_of_two_anonymised_patients_make_no_ecv(serving):
    """Headers without UIDs that differ in the patient alone; the second pair is of one patient."""
    xml = "<ismrmrdHeader><subjectInformation><patientID>{}</patientID></subjectInformation></ismrmrdHeader>"
    one, other = (Header(xml.format(patient)) for patient in "12")
    with serving(**QUICK) as server:
        assert streamed(server, one, Text('{"haematocrit": 0.42}'), *NATIVE, other, *POST) == []
        assert len(streamed(server, one, *NATIVE, one, *POST)) == 1


@pytest.mark.parametrize("connections", [1, 2])
def test_two_patients_with_one_study_uid_share_neither_ecv_nor_haematocrit(serving, connections):
    xml = XML.format(study=7).replace(
        "<studyInfo", "<subjectInformation><patientID>{}</patientID></subjectInformation><studyInfo", 1
    )
    one, other = (Header(xml.format(patient)) for patient in ("A17", "B22"))
    first, second = (one, Text('{"haematocrit": 0.30}'), *NATIVE), (other, *POST)
    with serving(**QUICK) as server:
        parts = [(*first, *second)] if connections == 1 else [first, second]
        assert [each for part in parts for each in streamed(server, *part)] == []
        (ecv,) = streamed(server, other, *NATIVE)
    assert ecv["haematocrit"] is None


def test_a_frame_of_reference_that_the_native_measurement_alone_states_leaves_one_study(serving):
    frame = (
        "<measurementInformation><frameOfReferenceUID>1.2.3</frameOfReferenceUID></measurementInformation>"
    )
    native = XML.format(study=7).replace("</ismrmrdHeader>", f"{frame}</ismrmrdHeader>")
    with serving(**QUICK) as server:
        assert streamed(server, Header(native), *NATIVE) == []
        (ecv,) = streamed(server, Header(XML.format(study=7)), Text('{"haematocrit": 0.42}'), *POST)
    assert ecv["regions"][0]["median"] == pytest.approx(100.0 * 0.58 * PARTITION, abs=0.3)


def test_a_header_without_uids_for_each_series_leaves_them_in_one_study(serving):
    patient = "<subjectInformation><patientID>7</patientID></subjectInformation>"
    xml = (
        f"<ismrmrdHeader>{patient}<measurementInformation><measurementID>{{}}</measurementID><seriesTime>{{}}"
    )
    xml += "</seriesTime></measurementInformation></ismrmrdHeader>"
    native, post = Header(xml.format(1, "10:00:00")), Header(xml.format(2, "10:20:00"))
    with serving(**QUICK) as server:
        (ecv,) = streamed(server, native, Text('{"haematocrit": 0.42}'), *NATIVE, post, *POST)
    assert ecv["haematocrit"] == 0.42
    assert ecv["regions"][0]["median"] == pytest.approx(100.0 * 0.58 * PARTITION, abs=0.3)


def test_slices_at_other_positions_are_an_error_in_words(serving):
    elsewhere = molli(phantom.POST, 2, name="T1 MOLLI post", series_clock=1, along=38.0)
    with serving(**QUICK) as server:
        added, texts = sent(server, [*NATIVE, *elsewhere], parameters={"haematocrit": 0.42})
    assert ecv_records(added) == []
    assert len(records(added)) == 2
    assert any("no native slice lies within 3 mm" in text and "8.0 mm" in text for text in texts)


def test_uncertainty_maps_are_sent_to_the_client_that_asks(serving):
    with serving(**QUICK) as server:
        plain, _ = sent(server, NATIVE, study=1)
        more, _ = sent(server, NATIVE, study=2, parameters={"uncertainty": True})
    assert (len(plain), len(more)) == (3, 5)


SLICE, PARTNER = t1_slice(), t1_slice(post=True)
SETTINGS = load_settings(ecv={"haematocrit": 0.42})
PIPELINE = Pipeline(None)


def keep(kept, study, result, session, settings=SETTINGS, *, stated=False, pipeline=PIPELINE):
    place = SlicePlace(result.identity, result.quantity, None, result.geometry, session)
    return kept.add(study, result, place, settings, pipeline, haematocrit_stated=stated)


def held(result):
    made = result.map
    arrays = (made.values_ms, made.sd_ms, made.r_squared, made.failed, result.labels)
    return (16 << 10) + sum(each.nbytes for each in arrays)


def late(result):
    return replace(result, map=None, contours=None, blood=None, flags=(Flag.LATE,))


@pytest.mark.parametrize("enhancement", [SLICE.enhancement, None], ids=["stated", "known by the blood"])
def test_a_late_partner_is_named_until_its_result_comes(enhancement):
    kept, study = KeptSlices(1 << 30), Study()
    native = replace(SLICE, enhancement=enhancement)
    assert keep(kept, study, late(native), "a") is None
    assert keep(kept, study, PARTNER, "b") is None
    (lonely,) = kept.unpaired(study, "b")
    assert lonely.flags == (Flag.LATE,)
    assert lonely.error.endswith("slice of this position missed its budget and has no contours")
    found = keep(kept, study, replace(SLICE, flags=(Flag.LATE,)), "a")
    assert found.regions[0].median == pytest.approx(26.68)
    assert kept.unpaired(study, "a") == kept.unpaired(study, "b") == []


def test_beyond_the_memory_limit_the_oldest_slice_goes_and_a_note_says_so():
    kept, first, other = KeptSlices(2 * held(SLICE)), Study(), Study()
    keep(kept, first, SLICE, "a")
    for session in ("b", "d"):
        keep(kept, other, SLICE, session)
    assert keep(kept, first, PARTNER, "c") is None
    (lonely,) = kept.unpaired(first, "c")
    assert lonely.flags == (Flag.NO_NATIVE,)
    assert "1 T1 slices of this examination were dropped" in lonely.notes[-1]
    assert keep(kept, other, PARTNER, "b").error == ""


def test_a_dropped_slice_that_had_a_partner_is_counted_too():
    kept, study = KeptSlices(2 * held(SLICE)), Study()
    assert keep(kept, study, SLICE, "a") is None
    for session in ("b", "c"):
        assert keep(kept, study, PARTNER, session).error == ""
    assert keep(kept, study, PARTNER, "d") is None
    (lonely,) = kept.unpaired(study, "d")
    assert "2 T1 slices of this examination were dropped" in lonely.notes[-1]


def test_a_pair_whose_ecv_fails_is_an_error_of_the_client(serving, monkeypatch, caplog):
    """It was in the log of the server alone, and the close named neither slice."""
    monkeypatch.setattr(Pipeline, "at_level", lambda *_: 1 / 0)
    native, post = (list(at_places(each, first, (0.0, 40.0))) for each, first in ((NATIVE, 1), (POST, 11)))
    watching = Watching()
    with serving(observers=Observers(watching), **ONE_BY_ONE) as server:
        sent(server, native)
        added, texts = sent(server, post)
    named = [text for text in texts if "ECV of series 1 slice 0: ZeroDivisionError" in text]
    assert len(named) == 1
    found = [each.result for each in watching.events if isinstance(each, EcvDelivery)]
    assert [each.flags for each in found if each.native.series_index == 1] == [(Flag.PROCESSING_ERROR,)]
    assert len(records(added)) == 2
    assert "ECV could not be computed" in caplog.text


def test_ecv_measures_its_native_slice_alone_at_another_level():
    """The first slice of each connection had no level as its result went out."""
    kept, study, measured = KeptSlices(1 << 30), Study(), []

    def at_level(result, level, source):
        measured.append(result.identity.series_index)
        return replace(result, level=level, level_source=source)

    pipeline = SimpleNamespace(at_level=at_level, ranges=NO_RANGES)
    slices = [
        replace(each, identity=SeriesIdentity(series, 0, name, series), level=None)
        for series, (each, name) in enumerate([(SLICE, "T1 mid"), (PARTNER, "T1 post mid")], 1)
    ]
    for each in slices:
        study.add(SlicePlace(each.identity, each.quantity, None, each.geometry, "a"))
        found = keep(kept, study, each, "a", pipeline=pipeline)
    assert found.level == "mid"
    assert measured == [1]


@pytest.mark.parametrize("stamp", [0, 1000])
def test_a_late_native_slice_is_no_partner_before_its_repetition(stamp):
    """The first native slice misses its budget, is repeated, and ends after the repetition."""
    kept, study = KeptSlices(1 << 30), Study()
    first, again = (
        replace(SLICE, identity=SeriesIdentity(series, 0, "", stamp * series)) for series in (1, 2)
    )
    for each in (replace(first, flags=(Flag.LATE,), contours=None, map=None), again):
        assert keep(kept, study, each, "a") is None
    assert keep(kept, study, replace(first, flags=(Flag.LATE,)), "a") is None
    post = replace(PARTNER, identity=SeriesIdentity(3, 0, "", stamp * 3))
    assert keep(kept, study, post, "a").native.series_index == 2


def test_a_slice_larger_than_the_limit_is_not_kept():
    kept, study = KeptSlices(1000), Study()
    assert keep(kept, study, SLICE, "a") is None
    assert keep(kept, study, PARTNER, "a") is None
    assert kept.unpaired(study, "a") == []


def test_studies_do_not_mix_and_go_with_their_last_connection():
    kept, studies = KeptSlices(1 << 30), Studies()
    header = MeasurementHeader(study_uid="1.2.3")
    keep(kept, studies.of(header), SLICE, "a")
    assert keep(kept, studies.of(replace(header, study_uid="1.2.4")), PARTNER, "b") is None
    assert keep(kept, studies.of(MeasurementHeader()), PARTNER, "c") is None
    assert keep(kept, studies.of(header), PARTNER, "d").regions[0].median == pytest.approx(26.68)
    assert len(kept._kept) == 2  # the study without UID went with its connection


@pytest.mark.parametrize(
    ("native", "post", "expected"),
    [
        (0.42, 0.45, 0.42),
        (0.45, 0.42, 0.42),
        (0.42, 0.42, 0.42),
        (None, 0.42, 0.42),
        (0.45, 0.45, 0.45),
        (0.45, None, None),
        (None, 0.45, None),
        (0.42, 0.38, None),
    ],
)
def test_the_haematocrit_of_the_patient_goes_before_that_of_the_settings(native, post, expected):
    """0.45 is that of the settings; None was refused."""
    kept, study = KeptSlices(1 << 30), Study()
    for result, value in ((SLICE, native), (PARTNER, post)):
        settings = load_settings(ecv={"haematocrit": value, "synthetic": True})
        found = keep(kept, study, result, "a", settings, stated=value != 0.45)
    contradictory = native == 0.42 and post == 0.38
    assert (found.haematocrit and found.haematocrit.value) == expected
    assert any("0.38 and 0.42" in note for note in found.notes) == contradictory
    assert (found.regions[0].median is None) == (expected is None)


def test_haematocrits_that_differ_leave_none_although_one_is_that_of_the_settings(serving):
    with serving(ecv={"haematocrit": 0.42}, **QUICK) as server:
        sent(server, NATIVE, parameters={"haematocrit": 0.42})
        median, record = value(sent(server, POST, parameters={"haematocrit": 0.38})[0])
        assert (median, record["haematocrit"]) == (None, None)
        sent(server, NATIVE, study=8)
        median, _ = value(sent(server, POST, study=8, parameters={"haematocrit": 0.38})[0])
    assert median == pytest.approx(100.0 * 0.62 * PARTITION, abs=0.3)


def test_every_pair_is_found_whichever_of_two_threads_is_first():
    from threading import Barrier, Thread

    for _ in range(5):
        kept, study, found, barrier = KeptSlices(1 << 30), Study(), [], Barrier(2)

        def add(result, kept=kept, study=study, found=found, barrier=barrier):
            barrier.wait()
            found.append(keep(kept, study, result, "a"))

        threads = [Thread(target=add, args=(each,)) for each in (SLICE, PARTNER)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(each is not None for each in found) == 1
        assert kept.unpaired(study, "a") == []


def test_the_settings_check_a_haematocrit():
    with pytest.raises(ValueError, match=r"give 0\.42 for 42 %"):
        Settings(ecv={"haematocrit": 42})
    usual = {"haematocrit": None, "haematocrits": None, "synthetic": False}
    assert json.loads(Settings().model_dump_json())["ecv"] == usual
