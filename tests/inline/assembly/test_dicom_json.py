import base64
import json

import pytest

from inline.assembly.dicom_json import DicomPlane, JsonHeader, parse, plane


def encoded(content):
    return base64.b64encode(json.dumps(content).encode()).decode()


def test_values_at_the_top_and_in_sequences():
    nested = {
        "52009230": {
            "vr": "SQ",
            "Value": [{"00189115": {"vr": "SQ", "Value": [{"00189079": {"Value": [260.0]}}]}}],
        }
    }
    assert parse(encoded(nested)).texts("InversionTimes") == ("260.0",)
    assert parse(encoded({"00180082": {"Value": [100]}})).texts("InversionTime") == ("100",)


@pytest.mark.parametrize("empty", [[], [None], [""], ["  "]])
def test_an_empty_value_at_the_top_hides_none_below(empty):
    below = {"52009229": {"Value": [{"0008103E": {"Value": ["T1map_MOLLI"]}}]}}
    header = parse(encoded({"0008103E": {"Value": empty}, **below}))
    assert header.texts("SeriesDescription") == ("T1map_MOLLI",)
    assert header.text("SeriesDescription") == "T1map_MOLLI"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings_of_the_json_text(encoding):
    text = json.dumps({"0008103E": {"Value": ["MOLLI Größe"]}}, ensure_ascii=False)
    header = parse(base64.b64encode(text.encode(encoding)).decode())
    assert header.texts("SeriesDescription") == ("MOLLI Größe",)


def test_json_that_is_not_base64_and_values_without_a_list():
    assert parse('{"00180082": {"vr": "DS", "Value": 260.5}}').texts("InversionTime") == ("260.5",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%%%",
        "{",
        encoded([1]),
        encoded("x"),
        base64.b64encode(b"{" * 10).decode(),
        base64.b64encode(b"[" * 200_000).decode(),
    ],
)
def test_what_is_no_json_object_has_no_elements(text):
    assert parse(text) == JsonHeader.of({})


@pytest.mark.parametrize(
    "element", [None, 3, [], {"Value": None}, {"Value": {}}, {"Value": [{}]}, {"Value": [[1]]}]
)
def test_elements_of_another_form_have_no_values(element):
    assert JsonHeader.of({"00180082": element}).texts("InversionTime") == ()


def test_very_many_elements_end():
    wide = {f"{number:08X}": {"Value": [{}]} for number in range(50_000)}
    assert JsonHeader.of(wide).texts("InversionTime") == ()


def test_the_plane_states_the_distance_between_rows_first():
    elements = {
        "00280030": {"Value": [1.5, 1.25]},
        "00200037": {"Value": [1, 0, 0, 0, 1, 0]},
        "00200032": {"Value": [-10.0, -20.0, 5.0]},
    }
    assert plane(JsonHeader.of(elements)) == DicomPlane(
        (1.25, 1.5), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), (-10.0, -20.0, 5.0)
    )
    assert plane(JsonHeader.of({"00280030": {"Value": [1.5]}})) is None
    assert plane(JsonHeader.of({"00280030": {"Value": [0, 0]}})) is None
    assert plane(JsonHeader.of({**elements, "00200037": {"Value": [1, 0, 0, 1, 0, 0]}})).directions is None


def test_items_without_elements_are_counted_too():
    items = {"00081140": {"vr": "SQ", "Value": [{}] * 10_000}}
    header = parse(encoded(items))
    assert len(header.levels) < 5000


def test_very_deep_elements_end():
    deep = {"00180082": {"Value": [100]}}
    for _ in range(5000):
        deep = {"00081140": {"Value": [deep]}}
    assert len(JsonHeader.of(deep).levels) < 5000
