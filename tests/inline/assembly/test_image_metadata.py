"""Comments and names of images: long ones are read in linear time, and digits stay with their number."""

import json

import numpy as np
import pytest

from inline.assembly.image_metadata import read_metadata
from inline.assembly.recognition import ImageKind
from inline.data.series import Enhancement, Quantity
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image


def read(**attributes):
    image = Image.from_pixels(np.zeros((1, 1, 16, 16), np.uint16), ImageHeader(), attributes)
    return read_metadata(image, MeasurementHeader())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["ImageComments", "SequenceDescription", "ImageType"])
@pytest.mark.parametrize("piece", [" ", "p", "TI ", "_T1 "])
@pytest.mark.parametrize("start", ["T2prep", "TI", "T2", "_T1"])
def test_the_longest_text_of_a_client_is_read_in_linear_time(name, start, piece):
    """10,000 spaces after ``T2prep`` once held the interpreter for hours."""
    assert read(**{name: start + piece * (10**6 // len(piece)) + "x"}).times == {}


@pytest.mark.parametrize(
    ("comment", "quantity", "ms"),
    [
        ("T2prep25", Quantity.T2, 25.0),
        ("T2prep55 ms", Quantity.T2, 55.0),
        ("T2PrepDuration40", Quantity.T2, 40.0),
        ("T2 prep. duration = 30 ms", Quantity.T2, 30.0),
        ("T2prep: 0", Quantity.T2, 0.0),
        ("TI=180", Quantity.T1, 180.0),
        ("MOLLI, TI 2800", Quantity.T1, 2800.0),
    ],
)
def test_a_time_in_a_comment_has_all_of_its_digits(comment, quantity, ms):
    assert read(ImageComments=comment).times[quantity].number == ms


@pytest.mark.parametrize(
    ("own", "listed", "used"), [("850", (), True), ("", (100.0, 180.0, 850.0, 930.0), True), ("", (), False)]
)
def test_images_with_inversion_times_under_a_header_of_t1rho_are_used(own, listed, used):
    header = MeasurementHeader(protocol_name="Heart_T1rho", inversion_times=tuple(map(str, listed)))
    image = Image.from_pixels(
        np.zeros((1, 1, 16, 16), np.uint16), ImageHeader(), {"InversionTime": own} if own else {}
    )
    assert isinstance(read_metadata(image, header), str) is not used


@pytest.mark.parametrize("none", ["0", "1.797e308", "nan", "-1", "300"])
def test_no_inversion_time_that_is_none_makes_t1rho_a_t2_map(none):
    """Philips states 0 or the largest number where there is no inversion."""
    header = MeasurementHeader(protocol_name="Heart_T1rho")
    meta = {"T2PrepDuration": "25", "InversionTime": none}
    image = Image.from_pixels(np.zeros((1, 1, 16, 16), np.uint16), ImageHeader(), meta)
    assert read_metadata(image, header) == "named as T1rho, which is not fitted"


@pytest.mark.parametrize(
    ("attributes", "enhancement", "source"),
    [
        ({"SequenceDescription": "MOLLI_post"}, Enhancement.POST_CONTRAST, "series description"),
        ({"SeriesDescription": "MOLLI native"}, Enhancement.NATIVE, "series description"),
        (
            {"SequenceDescription": "MOLLI", "ContrastBolusAgent": "Gadovist"},
            Enhancement.POST_CONTRAST,
            "contrast agent in the header",
        ),
        (
            {"DicomJson": '{"00180010": {"vr": "LO", "Value": ["Dotarem"]}}', "SequenceDescription": "MOLLI"},
            Enhancement.POST_CONTRAST,
            "contrast agent in the header",
        ),
        ({"SequenceDescription": "MOLLI"}, None, ""),
    ],
)
def test_contrast_agent_is_read_from_where_senders_state_it(attributes, enhancement, source):
    found = read(**attributes)
    assert (found.enhancement, found.enhancement_source) == (enhancement, source)


@pytest.mark.parametrize("scale", ["RescaleSlope", "RealWorldValueSlope", "(2005,100E)"])
@pytest.mark.parametrize(
    "value",
    [
        *({"Value": [each]} for each in (10**400, "x", {}, {"00281053": 1}, [[1]], True, "nan", None)),
        *({"Value": each} for each in (1, {}, "1")),
        *({"InlineBinary": each} for each in ("AAAA", "é", 5, [])),
        [],
        "x",
        None,
    ],
    ids=str,
)
def test_no_value_of_a_dicom_header_ends_the_reading(scale, value):
    tag = {"RescaleSlope": "00281053", "RealWorldValueSlope": "00409225", "(2005,100E)": "2005140E"}[scale]
    unit = {"Value": [{"00080100": {"Value": ["ms"]}}]}
    content = {
        "0008103E": {"Value": ["T1map"]},
        "00081030": value,
        "00180082": value,
        "00409096": {"Value": [{"004008EA": unit, tag: value}]},
        "20050014": {"Value": ["Philips MR Imaging DD 001"]},
        tag: value,
    }
    assert not isinstance(read(DicomJson=json.dumps(content), DataRole="T1"), str)
    assert not isinstance(read(DicomJson=json.dumps(content), ImageType="ORIGINAL"), str)


def test_a_description_is_cut_to_what_results_may_keep():
    found = read(SequenceDescription="MOLLI " + "x" * 1_000_000, SeriesDescriptionAdditional="y" * 1_000_000)
    assert found.description == "MOLLI " + "x" * 1018


@pytest.mark.parametrize("empty", [{}, {"Value": [""]}, {"Value": ["  "]}])
def test_an_empty_series_description_of_dicom_does_not_hide_the_protocol(empty):
    found = read(DicomJson=json.dumps({"0008103E": empty, "00181030": {"Value": ["T1 map"]}}))
    assert (found.recognised.kind, found.name) == (ImageKind.PERHAPS_MAP, "T1 map")


@pytest.mark.parametrize("key", ["SequenceDescription", "SeriesDescription"])
@pytest.mark.parametrize(
    ("values", "kind", "quantity"),
    [
        (["T2", "prep", "SAX"], ImageKind.WEIGHTED, Quantity.T2),
        (["SAX", "T1", "map"], ImageKind.MAP, Quantity.T1),
        (["t1map", "MOLLI", "MOCO", "T1"], ImageKind.MAP, Quantity.T1),
    ],
)
def test_the_values_of_a_description_are_one_name(key, values, kind, quantity):
    """MRD's documentation of image data: a text array, joined by ``_`` into (0008,103E)."""
    found = read(**{key: values, "ImageType": "DERIVED\\PRIMARY\\M"})
    assert (found.recognised.kind, found.recognised.quantity) == (kind, quantity)
    assert found.name == found.description == "_".join(values)
    other = read(**{key: ["T1map_MOLLI", "T1STAR"], "ImageType": "DERIVED\\PRIMARY\\M"})
    assert other == "its name is that of another parameter than T1 or T2"


@pytest.mark.parametrize(
    ("name", "additions", "description"),
    [
        ("T1map_MOLLI", {"GADGETRON_SeqDescription": ["_GT", "T1"]}, "T1map_MOLLI_GT_T1"),
        (
            "T1map_MOLLI",
            {key: ["_GT", "T1"] for key in ("GADGETRON_SeqDescription", "SequenceDescriptionAdditional")},
            "T1map_MOLLI_GT_T1",
        ),
        (
            "T1map_MOLLI-frisgo",
            {"SequenceDescriptionAdditional": "openrecon"},
            "T1map_MOLLI-frisgo_openrecon",
        ),
        (
            "T1map_MOLLI",
            {"SequenceDescriptionAdditional": ["-frisgo", "openrecon"]},
            "T1map_MOLLI_frisgo_openrecon",
        ),
        ("MOLLI", {"SeriesDescriptionAdditional": "mid"}, "MOLLI_mid"),
    ],
)
def test_additions_stand_behind_the_name_after_a_separator_and_once(name, additions, description):
    assert read(SequenceDescription=name, **additions).description == description


def test_words_of_contrast_and_correction_are_found_in_the_values_of_a_description():
    added = {"SeriesDescriptionAdditional": ["_GT", "MOCO"], "InversionTime": "100"}
    native = read(SeriesDescription=["T1map", "MOLLI", "native"], **added)
    assert (native.enhancement, native.recognised.corrected) == (Enhancement.NATIVE, True)
    post = read(SeriesDescription=["SA", "post", "MOLLI"])
    assert (post.enhancement, post.recognised.corrected) == (Enhancement.POST_CONTRAST, False)


@pytest.mark.parametrize("key", ["SequenceDescription", "SeriesDescription"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["T1map_MOLLI_native", "post processed"], Enhancement.NATIVE),
        (["MOLLI_pre", "FIRE", "post"], Enhancement.NATIVE),
        (["MOLLI_post", "no", "filter"], Enhancement.POST_CONTRAST),
        (["MOLLI", "without", "contrast"], Enhancement.NATIVE),
    ],
)
def test_a_later_value_of_a_description_does_not_contradict_the_first(key, values, expected):
    assert read(**{key: values}).enhancement is expected
    other = json.dumps(
        {"00181030": {"Value": ["MOLLI " + ("post" if expected is Enhancement.NATIVE else "pre")]}}
    )
    assert read(**{key: values, "DicomJson": other}).enhancement is expected
