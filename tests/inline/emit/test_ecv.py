"""ECV on the ways out: MRD images, records, messages."""

import json
from dataclasses import replace

import numpy as np
import pytest

from inline.data.flags import Flag
from inline.data.results import RegionValues
from inline.data.series import SeriesIdentity
from inline.emit.ecv import ecv_images
from inline.emit.mrd import images
from inline.emit.overlay import draw_uncertainty
from inline.emit.publisher import ECV_TOPIC, decode
from inline.emit.record import ECV_ATTRIBUTE, SCHEMA, ecv_record, slice_record
from inline.emit.schema import read_message, read_record
from inline.mrd.image_header import ImageHeader
from inline.replay.replies import ecv_records, records
from inline.settings import EcvSettings, EmitSettings
from inline.terminal.results import ecv_notes, ecv_table, message_line, results_table
from tests.inline.examination.phantom import SHAPE, ecv_of, examined, t1_slice

NATIVE = t1_slice(noise=0.03)
POST = t1_slice(post=True, noise=0.03)
FOUND = ecv_of(NATIVE, POST)
TEMPLATE = ImageHeader(matrix_size=(SHAPE[1], SHAPE[0], 1), field_of_view=(1.0, 1.0, 8.0), slice=4)

WINDOWS = ("WindowCenter", "WindowWidth", "GADGETRON_WindowCenter", "GADGETRON_WindowWidth")

FIELDS_OF_1_3 = {
    "schema": str, "series_index": int, "slice_index": int, "description": str, "time_stamp": int,
    "quantity": str, "unit": str, "scanner_made_map": bool, "shape": list, "pixel_spacing_mm": list,
    "contours": dict, "contour_offsets_mm": (dict, type(None)), "insertions": dict, "regions": list,
    "level": (str, type(None)), "level_source": str, "angular_reference": str,
    "confidence": (float, type(None)), "confidence_source": str, "flags": list, "notes": list,
    "motion_corrected": bool, "t1_scale": float, "error": str, "times_ms": dict,
}  # fmt: skip
"""Documented fields of version 1.3 and their types."""


def reader_of_1_3(text):
    """A reader as 1.3 documents it: the topic's number, the fields and types, others ignored."""
    content = json.loads(text)
    name, version = content["schema"].split("/")
    assert (name, version.split(".")[0]) == ("myostream.slice", "1")
    for field, kind in FIELDS_OF_1_3.items():
        assert isinstance(content[field], kind), field
    for region in content["regions"]:
        assert {"name", "median", "q1", "q3", "mean", "sd", "pixels"} <= set(region)
    return content


def test_the_map_is_in_tenths_of_a_percent_with_its_scale_and_window():
    (image,) = ecv_images(FOUND, TEMPLATE)
    meta, ring = image.meta(), FOUND.regions[0].median
    assert image.pixels.dtype == np.uint16
    assert np.array_equal(image.pixels[0, 0], np.round(FOUND.ecv.astype(float) * 10))
    assert float(meta["RescaleSlope"][0]) == 0.1
    assert (meta["WindowCenter"], meta["WindowWidth"]) == (("40",), ("80",))
    assert (meta["GADGETRON_WindowCenter"], meta["GADGETRON_WindowWidth"]) == (("400",), ("800",))
    assert meta["DataRole"] == ("Image", "Quantitative", "ECV")
    assert "ROI_endo" in meta
    assert meta["MYOSTREAM_HAEMATOCRIT"] == ("0.4200", "given")
    assert meta["MYOSTREAM_REGIONS"][:3] == ("global", "septum", "mid-septum")
    assert float(meta["MYOSTREAM_MEDIAN_PERCENT"][0]) == pytest.approx(ring, abs=1e-3)
    assert meta["ImageComments"][0].startswith(f"ECV myostream {ring:.1f} % [")
    assert meta["ImageComments"][0].endswith("research only")


def test_clipped_pixels_are_counted():
    (image,) = ecv_images(FOUND, TEMPLATE, EmitSettings(max_pixel=255))
    clipped = np.round(FOUND.ecv.astype(float) * 10) > 255
    assert image.meta()["MYOSTREAM_CLIPPED_PIXELS"] == (str(clipped.sum()),)
    assert image.pixels.max() == 255


def test_without_haematocrit_the_partition_coefficient_is_sent():
    found = ecv_of(NATIVE, POST, EcvSettings())
    (image,) = ecv_images(found, TEMPLATE)
    assert image.meta()["DataRole"] == ("Image", "Quantitative", "LAMBDA")
    assert float(image.meta()["RescaleSlope"][0]) == 0.1
    assert (image.meta()["WindowCenter"], image.meta()["WindowWidth"]) == (("70",), ("140",))
    assert np.array_equal(image.pixels[0, 0], np.round(found.partition.astype(float) * 1000))
    assert "no-haematocrit" in image.meta()["ImageComments"][0]
    assert image.meta()["ImageComments"][0].startswith("partition coefficient myostream 0.4")


@pytest.mark.parametrize("settings", [EcvSettings(haematocrit=0.42), EcvSettings()])
def test_windows_are_whole_numbers(settings):
    """MRD's "Streaming Format" has WindowCenter and WindowWidth as long: 0.7 is read as 0."""
    uncertain = EmitSettings(uncertainty=True)
    sent = [
        *ecv_images(ecv_of(NATIVE, POST, settings), TEMPLATE, uncertain),
        *images(NATIVE, TEMPLATE, uncertain),
    ]
    windows = [image.meta()[name][0] for image in sent for name in WINDOWS if name in image.meta()]
    assert len(windows) >= 4 * 4
    assert all(each.isdigit() for each in windows)


def test_the_map_lies_where_the_native_slice_lies():
    (image,) = ecv_images(FOUND, TEMPLATE)
    assert image.header.position == pytest.approx(NATIVE.geometry.position)
    assert image.header.read_dir == pytest.approx(NATIVE.geometry.row_direction)
    assert image.header.field_of_view == pytest.approx((SHAPE[1] * 1.5, SHAPE[0] * 1.5, 8.0))
    for unknown in ({"oriented": False}, {"positioned": False}):
        (image,) = ecv_images(replace(FOUND, geometry=replace(FOUND.geometry, **unknown)), TEMPLATE)
        assert image.header.position == TEMPLATE.position
        assert ("ImageRowDir" in image.meta()) == ("oriented" not in unknown)


def test_series_numbers_are_those_of_the_series_that_completed_the_pair():
    (image,) = ecv_images(FOUND, TEMPLATE)
    assert image.header.image_series_index == 5000 + 10 * 1 + 5
    (image,) = ecv_images(FOUND, TEMPLATE, completed_by=SeriesIdentity(2, 7))
    assert image.header.image_series_index == 5000 + 10 * 2 + 5
    # Native slices that are series of their own all have index 0: the images of a series had one number.
    assert image.header.image_index == 7 + 1


def test_uncertainty_maps_are_sent_on_request_alone():
    assert len(images(NATIVE, TEMPLATE)) == 3
    uncertain = replace(NATIVE, boundary_uncertainty=np.full(SHAPE, 0.5, np.float32))
    settings = EmitSettings(uncertainty=True)
    *_, sd, boundary = images(uncertain, TEMPLATE, settings)
    assert np.array_equal(sd.pixels[0, 0], np.round(NATIVE.map.sd_ms.astype(float) * 10))
    assert sd.meta()["DataRole"] == ("Image", "Quantitative", "T1SD")
    assert float(sd.meta()["RescaleSlope"][0]) == 0.1
    assert boundary.pixels.shape[0] == 3
    assert boundary.header.image_series_index == 5014
    sent = [*images(uncertain, TEMPLATE, settings), *ecv_images(FOUND, TEMPLATE, settings)]
    assert len({each.header.image_series_index for each in sent}) == len(sent)
    ecv, ecv_sd = ecv_images(FOUND, TEMPLATE, settings)
    assert np.array_equal(ecv_sd.pixels[0, 0], np.round(FOUND.ecv_sd.astype(float) * 10))
    assert ECV_ATTRIBUTE in ecv.meta()
    assert ECV_ATTRIBUTE not in ecv_sd.meta()
    assert len(images(replace(NATIVE, scanner_made=True), TEMPLATE, settings)) == 3


def test_certain_pixels_stay_grey_and_uncertain_ones_are_coloured():
    uncertainty = np.zeros(SHAPE, np.float32)
    uncertainty[10, 10] = 1.0
    shown = draw_uncertainty(NATIVE.map.values_ms, NATIVE.quantity, uncertainty)
    assert (shown[20, 20] == shown[20, 20, 0]).all()
    assert shown[10, 10].tolist() == [240, 249, 33]  # the end of plasma


def test_an_error_makes_no_image_but_a_record():
    (lonely,) = examined([POST]).ecv
    assert ecv_images(lonely, TEMPLATE) == []
    content = read_message(json.loads(json.dumps(ecv_record(lonely), allow_nan=False)))
    assert content["error"] == "there is no native T1 map"
    assert "no native T1 map" in message_line(content)
    place = f"0 {content['level']} ({POST.identity.series_index})"
    assert ecv_notes([content]) == [f"ECV {place}: there is no native T1 map"]


def test_a_note_of_ecv_stands_once_with_the_slice_positions_that_bear_it():
    content = json.loads(json.dumps(ecv_record(FOUND), allow_nan=False))
    assert content["level"] == "mid"
    one = {**content, "notes": ["Both.", "First."]}
    other = {**content, "native": {**content["native"], "slice_index": 1}, "level": None, "notes": ["Both."]}
    lonely = {**other, "post_contrast": None, "notes": [], "error": "no partner"}
    assert ecv_notes([one, other]) == ["ECV: Both.", "ECV 0 mid (1, 2): First."]
    assert ecv_notes([one, lonely])[2] == "ECV 1 (1): no partner"


def test_the_record_holds_what_the_result_holds():
    content = json.loads(json.dumps(ecv_record(FOUND), allow_nan=False))
    assert content["schema"] == "myostream.ecv/1.0"
    assert (content["haematocrit"], content["haematocrit_source"]) == (0.42, "given")
    ring = content["regions"][0]
    assert ring["median"] == pytest.approx(FOUND.regions[0].median, abs=1e-3)
    assert ring["standard_error"] == pytest.approx(FOUND.regions[0].standard_error, abs=1e-3)
    assert content["native_blood_t1"]["pixels"] == NATIVE.blood.pixels
    assert content["registration"]["x_mm"] == pytest.approx(0.0, abs=0.3)
    assert "patient" not in json.dumps(content).lower()


def test_replay_reads_the_record_from_the_map_and_no_slice_from_it():
    made = ecv_images(FOUND, TEMPLATE)
    ((content, _),) = ecv_records([*made, *images(NATIVE, TEMPLATE)])
    assert records(made) == []
    cells = [str(cell) for column in ecv_table([content]).columns for cell in column.cells]
    assert f"{FOUND.regions[0].median:.1f} [" in cells[1]
    assert cells[5] == "0.420"
    assert "%" in message_line(content)
    synthetic = {**content, "haematocrit_source": "synthetic"}
    assert "0.420*" in [str(cell) for column in ecv_table([synthetic]).columns for cell in column.cells]


@pytest.mark.parametrize("content", [{"post_contrast": 1}, {"post_contrast": None, "native": {}}])
def test_records_that_are_none_are_refused(content):
    with pytest.raises(ValueError, match="native"):
        read_message(content)


def test_a_reader_of_1_3_reads_what_is_sent_now():
    assert SCHEMA == "myostream.slice/1.4"
    scored = replace(
        NATIVE,
        regions=(RegionValues("global", 1000.0, 990.0, 1010.0, 1000.0, 15.0, 300, z_score=1.234),),
        field_strength=1.5,
        reference="site (n = 40)",
        flags=(Flag.IMPLAUSIBLE_BLOOD,),
    )
    content = reader_of_1_3(images(scored, TEMPLATE)[0].meta()["MYOSTREAM_RESULT"][0])
    assert content["regions"][0]["z_score"] == 1.234
    assert (content["enhancement"], content["field_strength_T"]) == ("native", 1.5)
    assert content["blood_t1"]["pixels"] == NATIVE.blood.pixels


def test_a_record_of_1_3_is_read_now():
    content = json.loads(json.dumps(slice_record(NATIVE)))
    earlier = {name: value for name, value in content.items() if name in FIELDS_OF_1_3}
    for region in earlier["regions"]:
        del region["z_score"]
    assert read_record(earlier)["quantity"] == "T1"


def test_a_message_has_a_topic_of_its_own():
    import msgpack

    assert ECV_TOPIC == b"myostream.ecv/1"
    message = decode([ECV_TOPIC, msgpack.packb({**ecv_record(FOUND), "session": "a"})])
    assert read_message(message)["session"] == "a"


def test_the_table_has_z_scores_where_there_are_any():
    region = RegionValues("global", 1000.0, 990.0, 1010.0, 1000.0, 15.0, 300)
    plain, scored = (
        read_record(slice_record(replace(NATIVE, regions=(replace(region, z_score=z_score),))))
        for z_score in (None, -1.26)
    )
    assert "z" not in [str(column.header) for column in results_table([plain]).columns]
    (column,) = [each for each in results_table([plain, scored]).columns if str(each.header) == "z"]
    assert [str(cell) for cell in column.cells] == ["-", "-1.3"]
