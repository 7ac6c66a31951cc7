import base64
import json

import pytest

from inline.assembly import dicom_json
from inline.assembly.dicom_json import DicomPlane


def encoded(content):
    return base64.b64encode(json.dumps(content).encode()).decode()


def test_values_at_the_top_and_in_sequences():
    nested = {
        "52009230": {
            "vr": "SQ",
            "Value": [{"00189115": {"vr": "SQ", "Value": [{"00189079": {"Value": [260.0]}}]}}],
        }
    }
    elements = dicom_json.parse(encoded(nested))
    assert dicom_json.values(elements, dicom_json.INVERSION_TIMES) == ("260.0",)
    assert dicom_json.values(dicom_json.parse(encoded({"00180082": {"Value": [100]}})), "00180082") == (
        "100",
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings_of_the_json_text(encoding):
    text = json.dumps({"0008103E": {"Value": ["MOLLI Größe"]}}, ensure_ascii=False)
    elements = dicom_json.parse(base64.b64encode(text.encode(encoding)).decode())
    assert dicom_json.values(elements, dicom_json.SERIES_DESCRIPTION) == ("MOLLI Größe",)


def test_json_that_is_not_base64_and_values_without_a_list():
    elements = dicom_json.parse('{"00180082": {"vr": "DS", "Value": 260.5}}')
    assert dicom_json.values(elements, dicom_json.INVERSION_TIME) == ("260.5",)


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
    assert dicom_json.parse(text) == {}


@pytest.mark.parametrize(
    "element", [None, 3, [], {"Value": None}, {"Value": {}}, {"Value": [{}]}, {"Value": [[1]]}]
)
def test_elements_of_another_form_have_no_values(element):
    assert dicom_json.values({"00180082": element}, "00180082") == ()


def test_very_many_elements_end():
    wide = {f"{number:08X}": {"Value": [{}]} for number in range(50_000)}
    assert dicom_json.values(wide, "00180082") == ()


def test_the_plane_states_the_distance_between_rows_first():
    elements = {
        "00280030": {"Value": [1.5, 1.25]},
        "00200037": {"Value": [1, 0, 0, 0, 1, 0]},
        "00200032": {"Value": [-10.0, -20.0, 5.0]},
    }
    assert dicom_json.plane(elements) == DicomPlane(
        (1.25, 1.5), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), (-10.0, -20.0, 5.0)
    )
    assert dicom_json.plane({"00280030": {"Value": [1.5]}}) is None
    assert dicom_json.plane({"00280030": {"Value": [0, 0]}}) is None
    assert dicom_json.plane({**elements, "00200037": {"Value": [1, 0, 0, 1, 0, 0]}}).directions is None


def test_items_without_elements_are_counted_too():
    items = {"00081140": {"vr": "SQ", "Value": [{}] * 10_000}}
    header = dicom_json.JsonHeader.of(dicom_json.parse(encoded(items)))
    assert len(header.levels) < 5000
