"""Messages to the page: pixels, words, and no text of a sender unless a setting allows."""

import json

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.data.client_text import foreign, message
from inline.data.examination import (
    EcvRegion,
    EcvResult,
    Haematocrit,
    HaematocritSource,
    Registration,
)
from inline.data.flags import Flag
from inline.data.results import BloodT1, SliceLevel
from inline.data.series import SeriesIdentity
from inline.report.wording import SENTENCES
from inline.serving.health import State, judge
from inline.serving.page.messages import (
    STEPS,
    Entry,
    closed_message,
    ecv_changes,
    ecv_message,
    haematocrit_words,
    map_pixels,
    share_pixels,
    slice_message,
    status_message,
)
from inline.serving.tally import Tally
from tests.inline.serving.page.results import GEOMETRY, NAME, result

ENTRY = Entry(number=3, study=1, connection=2, replaces=[], superseded=[])


def made(texts=False, **values):
    return slice_message(result(**values), ENTRY, latency_ms=12.34, budget_ms=500.0, texts=texts)


@pytest.mark.parametrize("step", STEPS.values())
@given(steps=st.floats(0.5, 65535.0))
def test_a_pixel_comes_back_within_half_a_step(step, steps):
    value = np.array([[steps * step]], np.float32)
    pixels = np.frombuffer(map_pixels(value, np.ones((1, 1), bool), step), "<u2")
    assert pixels[0] * step == pytest.approx(float(value[0, 0]), abs=step * (0.5 + 1e-2))


def test_zero_is_no_value_and_only_that():
    values = np.array([[0.01, 0.0, 9000.0, 800.0, 0.0]], np.float32)
    valid = np.array([[True, False, True, False, True]])
    assert np.frombuffer(map_pixels(values, valid, 0.1), "<u2").tolist() == [1, 0, 65535, 0, 1]


def test_shares_fill_a_byte():
    assert share_pixels(np.array([[-0.1, 0.0, 0.5, 1.0, 1.1]], np.float32)) == bytes([0, 0, 128, 255, 255])


def test_a_message_has_what_the_page_shows():
    whole = made()
    event = json.loads(json.dumps(whole["event"], allow_nan=False))
    assert event["map"] == {
        "name": "T1",
        "order": 1,
        "unit": "ms",
        "digits": 0,
        "step": 0.1,
        "window": [0.0, 2000.0],
        "segments": [300.0, 1500.0],
    }
    assert event["contours"]["endo"] == [[1.0, 1.0], [2.0, 1.0], [1.5, 2.0]]
    assert (event["latency_ms"], event["budget_ms"], event["images"]) == (12.3, 500.0, ["map"])
    # Those that question the values first.
    assert [each["flag"] for each in event["findings"]] == ["review", "missing-images"]
    assert event["findings"][0]["text"] == SENTENCES["review"]
    assert np.frombuffer(whole["images"]["map"], "<u2").tolist() == [12346] * 12
    assert msgpack.unpackb(msgpack.packb(whole)) == whole


def test_a_result_without_map_and_contours_has_neither():
    whole = made(map=None, contours=None, error="too few images")
    assert (whole["images"], whole["event"]["images"], whole["event"]["contours"]) == ({}, [], None)
    assert whole["event"]["error"] == "too few images"


def test_texts_of_a_sender_are_shown_where_a_setting_allows_alone():
    assert NAME not in json.dumps(made()["event"])
    allowed = made(texts=True)["event"]
    assert all(NAME in str(allowed[field]) for field in ("description", "notes", "error"))


PERCENT = ("median", "q1", "q3", "mean", "sd", "standard_error", "z_score")


def ecv(haematocrit=0.42, source=HaematocritSource.GIVEN, **values):
    percent = [None] * 7 if haematocrit is None else [29.0, 28.0, 30.0, 29.1, 1.5, 0.12345, 1.25]
    made = {
        "native": SeriesIdentity(1, 2, f"T1 {NAME}", 77),
        "post": SeriesIdentity(5, 2, f"post {NAME}", 99),
        "geometry": GEOMETRY,
        "level": SliceLevel.MID,
        "haematocrit": None if haematocrit is None else Haematocrit(haematocrit, source),
        "native_blood": BloodT1(1600.4, 50.0, 3.0, 100),
        "post_blood": BloodT1(320.0, 10.0, 1.0, 100),
        "partition": np.full((3, 4), 0.5, np.float32),
        "valid": np.arange(12).reshape(3, 4) > 0,
        "contours": result().contours,
        "regions": (
            EcvRegion(
                **{"name": "global", "pixels": 90} | dict(zip(PERCENT, percent, strict=True)),
                partition_coefficient=0.5,
                partition_standard_error=0.0021,
            ),
            EcvRegion(**dict.fromkeys(("median", "q1", "q3", "mean", "sd")), name="septum", pixels=0),
        ),
        "registration": Registration(1.0, -2.0, 3.0, "contours"),
        "flags": (Flag.REVIEW,),
        "notes": (message("of {}", foreign(NAME)),),
    }
    return EcvResult(**{**made, **values})


def ecv_made(result, texts=False):
    return ecv_message(result, ENTRY, texts=texts)


def test_ecv_has_its_map_values_errors_and_haematocrit():
    whole = ecv_made(ecv())
    event = json.loads(json.dumps(whole["event"], allow_nan=False))
    assert (event["kind"], event["level"], event["map"]["name"]) == ("ecv", "mid", "ECV")
    assert (event["map"]["unit"], event["map"]["window"], event["latency_ms"]) == ("%", [0.0, 80.0], None)
    assert (event["series_index"], event["slice_index"]) == (1, 2)
    assert np.frombuffer(whole["images"]["map"], "<u2").tolist() == [0, *[2900] * 11]
    assert event["regions"] == [
        {"name": "global", "pixels": 90, "median": 29.0, "q1": 28.0, "q3": 30.0, "error": 0.123}
        | {"z_score": 1.25},
        {"name": "septum", "pixels": 0, "median": None, "q1": None, "q3": None, "error": None}
        | {"z_score": None},
    ]
    assert event["haematocrit"] == "Haematocrit 0.42, as given."
    assert haematocrit_words(ecv(haematocrit=0.425)) == "Haematocrit 0.425, as given."
    assert "Blood T1 1600 ms native, 320 ms post-contrast." in event["notes"]
    assert "1.0 mm to the right, -2.0 mm down and 3 degrees (contours)" in event["notes"][-1]
    assert event["findings"][0]["text"] == SENTENCES["review"]
    assert msgpack.unpackb(msgpack.packb(whole)) == whole


def test_without_haematocrit_the_partition_coefficient_is_shown_and_a_synthetic_one_is_named():
    whole = ecv_made(ecv(haematocrit=None))
    event = whole["event"]
    assert (event["map"]["name"], event["map"]["unit"]) == ("Partition coefficient", "")
    assert np.frombuffer(whole["images"]["map"], "<u2").tolist() == [0, *[5000] * 11]
    assert (event["regions"][0]["median"], event["regions"][0]["error"]) == (0.5, 0.0021)
    assert (event["regions"][0]["q1"], event["haematocrit"][:14]) == (None, "No haematocrit")
    assert "synthetic: computed" in haematocrit_words(ecv(source=HaematocritSource.SYNTHETIC))
    assert "by the site's file" in haematocrit_words(ecv(source=HaematocritSource.FILE))


def test_an_ecv_error_has_no_map_and_states_no_haematocrit():
    lonely = ecv(haematocrit=None, post=None, partition=None, valid=None, regions=(), error="no partner")
    whole = ecv_made(lonely)
    assert (whole["images"], whole["event"]["images"], whole["event"]["error"]) == ({}, [], "no partner")
    assert whole["event"]["haematocrit"] == ""


def test_texts_of_a_sender_are_in_ecv_where_a_setting_allows_alone():
    assert NAME not in json.dumps(ecv_made(ecv())["event"])
    allowed = ecv_made(ecv(), texts=True)["event"]
    assert all(NAME in str(allowed[field]) for field in ("description", "notes"))
    assert NAME not in json.dumps(ecv_changes(ecv(), texts=False))


def test_state_and_connections():
    health = judge(State(listening=True, engine="torch", connections=1), 120.0)
    event = status_message(health, {4: Tally(images=9, returned=8, late=1)})["event"]
    assert (event["ready"], event["engine"]) == (True, "torch")
    assert event["connections"] == [
        {"connection": 4, "images": 9, "returned": 8, "withheld": 0, "slices": 0, "results": 0, "errors": 0}
        | {"late": 1}
    ]
    assert closed_message(4, Tally(images=9, returned=8))["event"]["lost"] == 1
