"""Gadgetron's images: ``_GT`` as their description, times in a user field, in user parameters, in lists."""

import numpy as np
import pytest

from inline.data.flags import Flag

from .outcomes import PHANTOM, no_map, only_map
from .phantom import MOLLI_TIMES, T2_TIMES, whole
from .wire import described, header_xml, image, series

GADGETRON = {
    "GADGETRON_SeqDescription": "_GT",
    "GADGETRON_DataRole": "Image",
    "GADGETRON_ImageComment": "GT",
    "GADGETRON_ImageProcessingHistory": "GT",
}
META = pytest.mark.parametrize("meta", [None, GADGETRON], ids=["no attributes", "Gadgetron's attributes"])
ENCODINGS = pytest.mark.parametrize("limited", [True, False], ids=["encoding limits", "no encoding"])


def limits(limited, last, counter="set"):
    return {"limits": {counter: last}} if limited else {"encodings": 0}


def with_user_times(meta, times=T2_TIMES, place=7):
    """Preparation times in a user field of the header, microseconds."""
    images = []
    for k, (pixels, time) in enumerate(zip(whole(PHANTOM.t2prep(times)), times, strict=True)):
        user = [0] * 8
        user[place] = int(time * 1000)
        images.append(image(pixels, meta, set=k, image_index=k + 1, user_int=user))
    return images


@META
@ENCODINGS
def test_t2_times_in_the_user_field(server, meta, limited):
    header = header_xml("T2map_FLASH", **limits(limited, 2))
    only_map(server.exchange(with_user_times(meta), header), "T2")


@META
@ENCODINGS
@pytest.mark.parametrize("listed", [(0, 1, 2), (1, 2)], ids=["all listed", "zero not listed"])
def test_t2_times_in_user_parameters(server, meta, limited, listed):
    doubles = {f"T2PrepDuration_{k}": f"{T2_TIMES[k]:g}" for k in listed}
    header = header_xml("T2map_FLASH", doubles=doubles, **limits(limited, 2))
    reply = server.exchange(series(whole(PHANTOM.t2prep()), meta), header)
    only_map(reply, "T2", may={Flag.UNREADABLE_TIMES})


@META
@ENCODINGS
def test_t2_echo_times_in_the_header(server, meta, limited):
    times = (10.0, 30.0, 60.0)
    header = header_xml("T2map_GraSE", te=times, **limits(limited, 2, "contrast"))
    reply = server.exchange(series(whole(PHANTOM.t2prep(times)), meta, counter="contrast"), header)
    only_map(reply, "T2")


@META
@ENCODINGS
@pytest.mark.parametrize("protocol", ["MOLLI", "T1map_SAX", "t1_mapping_5(3)3"])
def test_molli_times_in_the_header(server, meta, limited, protocol):
    header = header_xml(protocol, ti=MOLLI_TIMES, **limits(limited, 7))
    only_map(server.exchange(series(whole(PHANTOM.molli()), meta), header))


@META
def test_molli_after_an_encoding_of_the_reference_scan(server, meta):
    header = header_xml("MOLLI", ti=MOLLI_TIMES, limits=[{"set": 0}, {"set": 7}])
    only_map(server.exchange(series(whole(PHANTOM.molli()), meta), header))


@pytest.mark.parametrize("addition", ["_GT", "_MOCO", "_GT_MOCO", "_MOCO_NORM"])
def test_gadgetrons_description_adds_to_the_protocols_name(server, addition):
    own = [{**GADGETRON, "GADGETRON_SeqDescription": addition, "GADGETRON_TI": time} for time in MOLLI_TIMES]
    result = only_map(server.exchange(series(whole(PHANTOM.molli()), own), header_xml("MOLLI")))
    assert result.record["motion_corrected"] == ("MOCO" in addition)


DERIVED = {
    "T1SD": ("T1SD", ""),
    "T1SDMAP": ("T1SDMAP", "_T1SD"),
    "T2SD": ("T2SD", ""),
    "g-factor": ("Gfactor", "Gfactor"),
    "SNR": ("SNR_MAP", "_SNR_MAP"),
    "SD": ("STD_MAP", "_STD_MAP"),
    "T2*": ("T2STAR", "_T2STAR"),
    "perfusion": ("MBF", "_Perf"),
    "fit parameters": ("A_PARAM", "_A"),
}
"""Data role and description of images that Gadgetron's chains derive."""


def derived(name, count=8, key="GADGETRON_DataRole", **fields):
    role, addition = DERIVED[name]
    meta = {**GADGETRON, "GADGETRON_SeqDescription": addition or "_GT"}
    del meta["GADGETRON_DataRole"]
    meta[key] = role
    return series(np.float32([PHANTOM.t1_map()] * count), meta, **fields)


@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("name", DERIVED)
@pytest.mark.parametrize(
    ("protocol", "key"),
    [("MOLLI", "GADGETRON_DataRole"), ("T1map_SAX", "DataRole"), ("T2map_FLASH", "GADGETRON_DataRole")],
)
def test_derived_images_make_no_map(server, name, count, protocol, key):
    header = header_xml(protocol, ti=MOLLI_TIMES, limits={"set": 7})
    no_map(server.exchange(derived(name, count, key, image_series_index=20), header))


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("index", [1, 20], ids=["same series", "series of their own"])
@pytest.mark.parametrize("name", DERIVED)
def test_derived_images_beside_molli(server, name, index, first):
    own = [{**GADGETRON, "GADGETRON_TI": time} for time in MOLLI_TIMES]
    weighted = series(whole(PHANTOM.molli()), own)
    others = derived(name, image_series_index=index)
    images = others + weighted if first else weighted + others
    only_map(server.exchange(images, header_xml("MOLLI", limits={"set": 7})))


@pytest.mark.parametrize("role", ["T1", "T1MAP"])
def test_a_map_of_gadgetrons_beside_its_standard_deviation(server, role):
    """Its own series each, as ``CmrParametricMappingGadget`` sends them."""
    t1 = {**GADGETRON, "GADGETRON_DataRole": role, "GADGETRON_SeqDescription": "_T1"}
    maps = [image(np.float32(PHANTOM.t1_map()), t1, image_series_index=10)]
    deviations = derived("T1SD", 1, image_series_index=11)
    result = only_map(server.exchange([*maps, *deviations], header_xml("MOLLI", ti=MOLLI_TIMES)))
    assert result.record["scanner_made_map"]


@pytest.mark.parametrize("role", ["Image", "MOCO", "image"])
def test_roles_of_weighted_images(server, role):
    own = described("T1map_MOLLI", "GADGETRON_TI", MOLLI_TIMES, GADGETRON_DataRole=role)
    only_map(server.exchange(series(whole(PHANTOM.molli()), own), header_xml()))
