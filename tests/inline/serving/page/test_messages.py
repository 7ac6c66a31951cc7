"""Messages to the page: pixels, words, and no text of a sender unless a setting allows."""

import json

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.data.client_text import foreign, message
from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import Contours, SliceResult
from inline.data.series import Quantity, SeriesIdentity
from inline.report.wording import SENTENCES
from inline.serving.health import State, judge
from inline.serving.page.messages import (
    STEP_MS,
    closed_message,
    map_pixels,
    share_pixels,
    slice_message,
    status_message,
)
from inline.serving.tally import Tally
from model.relaxometry.parametric_map import ParametricMap

NAME = "Mustermann"
GEOMETRY = SliceGeometry((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.5, 1.5), (3, 4))


def result(**values):
    made = {
        "identity": SeriesIdentity(1, 2, f"T1 {NAME}", 77),
        "quantity": Quantity.T1,
        "geometry": GEOMETRY,
        "map": ParametricMap.of_values(np.full((3, 4), 1234.56, np.float32)),
        "scanner_made": False,
        "labels": np.zeros((3, 4), np.uint8),
        "contours": Contours(
            np.array([[1.0, 1.0], [2.0, 1.0], [1.5, 2.0]]), np.array([[0.0, 0.0], [3.0, 0.0]])
        ),
        "flags": (Flag.REVIEW, Flag.MISSING_IMAGES),
        "notes": (message("the series {} is short", foreign(NAME)),),
        "error": foreign(f"broken by {NAME}"),
    }
    return SliceResult(**{**made, **values})


def made(texts=False, **values):
    return slice_message(
        result(**values), number=3, study=1, connection=2, latency_ms=12.34, budget_ms=500.0, texts=texts
    )


@given(st.floats(0.0625, 6553.0, width=32))
def test_a_pixel_comes_back_within_half_a_step(value):
    pixels = np.frombuffer(map_pixels(np.array([[value]], np.float32), np.zeros((1, 1), bool)), "<u2")
    assert pixels[0] * STEP_MS == pytest.approx(value, abs=STEP_MS / 2 + 1e-3)


def test_zero_is_no_value_and_only_that():
    values = np.array([[0.01, 0.0, 9000.0, 800.0]], np.float32)
    pixels = np.frombuffer(map_pixels(values, np.array([[False, True, False, True]])), "<u2")
    assert pixels.tolist() == [1, 0, 65535, 0]


def test_shares_fill_a_byte():
    assert share_pixels(np.array([[-0.1, 0.0, 0.5, 1.0, 1.1]], np.float32)) == bytes([0, 0, 128, 255, 255])


def test_a_message_has_what_the_page_shows():
    whole = made()
    event = json.loads(json.dumps(whole["event"], allow_nan=False))
    assert event["quantity"] == "T1"
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


def test_state_and_connections():
    health = judge(State(listening=True, engine="torch", connections=1), 120.0)
    event = status_message(health, {4: Tally(images=9, returned=8, late=1)})["event"]
    assert (event["ready"], event["engine"]) == (True, "torch")
    assert event["connections"] == [
        {"connection": 4, "images": 9, "returned": 8, "withheld": 0, "slices": 0, "results": 0, "errors": 0}
        | {"late": 1}
    ]
    assert closed_message(4, Tally(images=9, returned=8))["event"]["lost"] == 1
