"""Series names of real sites: weighted images, finished maps, and anatomy that is named T1 or T2.

From UK Biobank's scripts and from public analysis scripts for the maps of one vendor's scanners.
"""

import base64
import json

import numpy as np
import pytest

from .outcomes import PHANTOM, expect, no_map, only_map
from .phantom import MOLLI_TIMES, T2_TIMES, whole
from .wire import header_xml, image, series

ORIGINAL = ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"]
DERIVED = ["DERIVED", "PRIMARY", "M", "ND", "NORM"]


def weighted(description, image_type=ORIGINAL, key="SequenceDescription"):
    own = [{key: description, "ImageType": image_type, "InversionTime": time} for time in MOLLI_TIMES]
    return series(whole(PHANTOM.molli()), own, counter=None)


def weighted_t2(description):
    own = [
        {"SequenceDescription": description, "ImageType": ORIGINAL, "T2PrepDuration": time}
        for time in T2_TIMES
    ]
    return series(whole(PHANTOM.t2prep()), own, counter=None)


def finished(description, image_type=DERIVED, values=None, **more):
    meta = {"SequenceDescription": description, "ImageType": image_type, **more}
    return [image(whole(PHANTOM.t1_map() if values is None else values), meta)]


WEIGHTED = (
    "ShMOLLI_192i_SAX_b2s",
    "t1map_long_t1",
    "T1Map_LongT1_SA_Base_MOCO",
    "t1map_long_t1_3slice_8mm_150_gap_MOCO",
    "T1MAP_LONG_T1",
    "T1MAP_SHORT_T1",
    "MOLLI native T1",
    "SAX MOLLI 5(3)3 pre T1",
    "MOLLI_post_T1",
    "ShMOLLI_SAX_T1",
    "molli_4(1)3(1)2_t1",
    "T1 map MOLLI",
    "SAX T1 map",
    "LookLocker_T1",
    "T1",
)
WEIGHTED_T2 = ("T2_MAP_FLASH_SAX", "T2map_SAX_T2", "T2prep SAX T2", "SAX T2 map", "T2")
MAPS = (
    "t1map_long_t1_MOCO_T1",
    "T1MAP_PRECON_SAX7_MOCO_T1",
    "t1map_long_t1_3slice_8mm_150_gap_MOCO_T1",
    "ShMOLLI_192i_SAX_b2s_SAX_b2s_SAX_b2s_T1MAP",
    "MOLLI_T1_MAP",
    "MOLLI_T1_map",
    "molli_t1map",
    "SAX_T1map_MOCO",
    "SAX T1 map",
    "T1 MAP",
    "t1map_long_t1_moco_t1",
    "t1map_long_t1_MOCO_T1-2",
    "t1map_long_t1_MOCO_T1_2",
    "T1MAP_MOCO_T1_SAX",
)
T2_MAPS = ("T2_MAP_FLASH_SAX_MOCO_T2", "t2map_trufi_moco_t2", "SAX_T2_MAP", "T2 map", "T2prep_T2MAP")
NEITHER = (
    "ShMOLLI_192i_SAX_b2s_SAX_b2s_FITPARAMS",
    "T2_MAP_FLASH_SAX9_T2STAR",
    "T2*_map_SAX",
    "T2star map",
    "t2_star_map",
    "t1map_long_t1_MOCO_T1_SD",
    "T1map_R2",
    "T1_map_SD",
    "ECV_map",
    "SAX_ECV_T1map",
)
ANATOMY = (
    "haste_loc_T1",
    "tse_sax_T2",
    "t1_tse_db_sax",
    "T1_vibe_dixon",
    "STIR T2",
    "DB_TSE_T1",
    "t2_haste_tra",
    "T2w_SPAIR",
)


@pytest.mark.parametrize("name", WEIGHTED)
def test_weighted_images_are_fitted(server, name):
    result = only_map(server.exchange(weighted(name)))
    assert not result.record["scanner_made_map"]
    assert result.record["motion_corrected"] == ("MOCO" in name)


@pytest.mark.parametrize("name", ["T1MAP_LONG_T1", "MOLLI native T1", "MOLLI_T1"])
def test_weighted_images_of_a_derived_type(server, name):
    """What bears a time is weighted, though the scanner has processed it."""
    result = only_map(server.exchange(weighted(name, DERIVED)))
    assert not result.record["scanner_made_map"]


@pytest.mark.parametrize("name", ["T1MAP_LONG_T1", "MOLLI native T1"])
@pytest.mark.parametrize("key", ["SequenceDescription", "SeriesDescription", "GADGETRON_SeqDescription"])
def test_weighted_images_without_an_image_type(server, name, key):
    own = [{key: name, "InversionTime": time} for time in MOLLI_TIMES]
    result = only_map(server.exchange(series(whole(PHANTOM.molli()), own, counter=None)))
    assert not result.record["scanner_made_map"]


@pytest.mark.parametrize("name", ["T1MAP_LONG_T1", "MOLLI native T1"])
def test_weighted_images_whose_times_stand_in_the_header(server, name):
    own = {"SequenceDescription": name, "ImageType": ORIGINAL}
    images = series(whole(PHANTOM.molli()), own)
    result = only_map(server.exchange(images, header_xml(ti=MOLLI_TIMES, limits={"set": 7})))
    assert not result.record["scanner_made_map"]


@pytest.mark.parametrize("name", WEIGHTED_T2)
def test_weighted_t2_images_are_fitted(server, name):
    result = only_map(server.exchange(weighted_t2(name)), "T2")
    assert not result.record["scanner_made_map"]


@pytest.mark.parametrize("name", MAPS)
def test_finished_maps_are_taken(server, name):
    result = only_map(server.exchange(finished(name)))
    assert result.record["scanner_made_map"]


@pytest.mark.parametrize("name", T2_MAPS)
def test_finished_t2_maps_are_taken(server, name):
    images = finished(name, values=PHANTOM.t2_map() * 10, RescaleSlope=0.1, RescaleIntercept=0)
    result = only_map(server.exchange(images), "T2")
    assert result.record["scanner_made_map"]


@pytest.mark.parametrize(
    "image_type",
    [
        ["DERIVED", "PRIMARY", "T1_MAP", "MYOMAPS_T1"],
        ["DERIVED", "PRIMARY", "M", "MYOMAPS_T1"],
        ["DERIVED", "PRIMARY", "M", "myomaps_t1"],
        ["DERIVED", "PRIMARY", "M", "T1 MAP"],
        ["DERIVED\\PRIMARY\\M\\T1_MAP"],
    ],
    ids="/".join,
)
def test_finished_maps_by_their_image_type(server, image_type):
    result = only_map(server.exchange(finished("t1map_long_t1_MOCO", image_type)))
    assert result.record["scanner_made_map"]


@pytest.mark.parametrize("key", ["DicomImageType", "DicomJson"])
def test_finished_maps_by_the_dicom_image_type(server, key):
    image_type = ["DERIVED", "PRIMARY", "M", "MYOMAPS_T1"]
    value = image_type
    if key == "DicomJson":
        content = {"00080008": {"vr": "CS", "Value": image_type}}
        value = base64.b64encode(json.dumps(content).encode()).decode()
    meta = {"SequenceDescription": "t1map_long_t1_MOCO", key: value}
    result = only_map(server.exchange([image(whole(PHANTOM.t1_map()), meta)]))
    assert result.record["scanner_made_map"]


def test_a_finished_map_by_its_image_type_may_have_an_inversion_time(server):
    """Scanners copy the first image's into the map's header."""
    image_type = ["DERIVED", "PRIMARY", "T1_MAP", "MYOMAPS_T1"]
    result = only_map(server.exchange(finished("t1map_long_t1_MOCO", image_type, InversionTime=100)))
    assert result.record["scanner_made_map"]


@pytest.mark.parametrize("name", ["MOLLI_T1", "T1MAP_LONG_T1", "MOLLI native T1"])
def test_one_weighted_image_is_neither_a_map_nor_a_series(server, name):
    no_map(server.exchange(weighted(name)[:1]))


@pytest.mark.parametrize(
    "name", ["TI_scout", "TI-Scout", "TI scout PSIR", "LL_scout", "Look-Locker", "", "CINE_IR"]
)
def test_a_ti_scout_is_left_alone(server, name):
    """A cine after one inversion, each frame with a time of its own."""
    times = [90.0 + 25.0 * frame for frame in range(24)]
    own = [{"SequenceDescription": name, "InversionTime": time} for time in times]
    no_map(server.exchange(series(whole(PHANTOM.molli(times)), own, counter="phase")))


@pytest.mark.parametrize("name", NEITHER)
def test_other_derived_images_are_no_t1_or_t2_map(server, name):
    no_map(server.exchange(finished(name)))


def test_fit_parameters(server):
    own = {"SequenceDescription": NEITHER[0], "ImageType": DERIVED}
    stack = np.full((4, 96, 96), 50, np.uint16) * np.arange(4, dtype=np.uint16)[:, None, None]
    no_map(server.exchange(series(stack, own, counter=None)))


@pytest.mark.parametrize(
    "image_type",
    [["DERIVED", "PRIMARY", "M", "T2_STAR MAP"], ["DERIVED", "PRIMARY", "M", "T2*MAP"]],
    ids=["T2_STAR MAP", "T2*MAP"],
)
def test_a_t2_star_map_by_its_image_type(server, image_type):
    no_map(server.exchange(finished("SAX_MOCO", image_type)))


@pytest.mark.parametrize("image_type", [ORIGINAL, None], ids=["ORIGINAL", "no image type"])
@pytest.mark.parametrize("name", ANATOMY)
def test_anatomy_is_left_alone(server, name, image_type):
    meta = {"SequenceDescription": name, **({} if image_type is None else {"ImageType": image_type})}
    t1_weighted, t2_weighted = PHANTOM.molli([1000.0])[0], PHANTOM.t2prep([60.0])[0]
    no_map(server.exchange([image(whole(t2_weighted if "T2" in name.upper() else t1_weighted), meta)]))


def test_a_series_of_one_protocol_weighted_and_finished(server):
    """What one vendor's scanners send of a slice: weighted images, motion-corrected ones, the map."""
    images = weighted("t1map_long_t1")
    images += [
        image(
            one.pixels[0, 0], {**own, "ImageType": [*ORIGINAL, "MOCO"]}, image_index=k, image_series_index=2
        )
        for k, (one, own) in enumerate(
            zip(
                images,
                [{"SequenceDescription": "t1map_long_t1_MOCO", "InversionTime": t} for t in MOLLI_TIMES],
                strict=True,
            )
        )
    ]
    finished_meta = {"SequenceDescription": "t1map_long_t1_MOCO_T1", "ImageType": DERIVED}
    images.append(image(whole(PHANTOM.t1_map()), finished_meta, image_series_index=3))
    reply = server.exchange(images)
    made = [result.record["scanner_made_map"] for result in reply.results]
    expect(sorted(made) == [False, True], "one fitted and one finished map are right", reply)
    for result in reply.results:
        expect(abs(result.median(PHANTOM.wall) - 950.0) <= 3.0, "950 ms is right", reply)
