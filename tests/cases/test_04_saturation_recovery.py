"""Saturation recovery (SASHA and kin): no MOLLI fit holds for it, whose T1 would be 0 to 250 ms.

Gadgetron's ``CmrParametricT1SRMappingGadget`` takes the saturation times from the header's list of inversion
times, in seconds.
"""

import numpy as np
import pytest

from inline.data.flags import Flag

from .outcomes import PHANTOM, expect, no_map, only_map, reported
from .phantom import SATURATION_TIMES, Phantom, whole
from .wire import described, header_xml, image, series

GADGETRON = {"GADGETRON_SeqDescription": "_GT", "GADGETRON_DataRole": "Image"}
LIMITS = {"set": len(SATURATION_TIMES) - 1}
NAMES = ("SASHA_10pt_TS600", "T1map_SASHA", "sasha t1map", "SMART1Map_SAX", "T1map_saturation_recovery")
EFFICIENCIES = (0.95, 0.995, 1.0, 1.02, 1.087, 1.2)
"""Of the saturation pulse: 1 - cos of its angle, so that 1.087 is one of 95 degrees and 1.2 one of 102."""


def recovery(efficiency, noise=0.0):
    images = PHANTOM.saturation_recovery(efficiency)
    return whole(np.abs(images + noise * np.random.default_rng(1).standard_normal(images.shape)))


def in_header(protocol, efficiency, noise=0.0):
    """Images as Gadgetron sends them, and the header with the times in seconds."""
    header = header_xml(protocol, ti=[time / 1000.0 for time in SATURATION_TIMES], limits=LIMITS)
    return series(recovery(efficiency, noise), GADGETRON), header


def in_attributes(description, efficiency, noise=0.0):
    attributes = described(description, "InversionTime", SATURATION_TIMES)
    return series(recovery(efficiency, noise), attributes), header_xml(limits=LIMITS)


@pytest.mark.parametrize("place", [in_header, in_attributes], ids=["header", "attributes"])
@pytest.mark.parametrize("name", NAMES)
def test_named_so_is_reported_and_not_fitted(server, place, name):
    reported(server.exchange(*place(name, 1.0)), "saturation")


@pytest.mark.parametrize("noise", [0.0, 4.0], ids=["exact", "noise"])
@pytest.mark.parametrize("efficiency", EFFICIENCIES)
@pytest.mark.parametrize("place", [in_header, in_attributes], ids=["header", "attributes"])
def test_named_so_whatever_the_pulse(server, place, efficiency, noise):
    reported(server.exchange(*place("T1map_SASHA", efficiency, noise)), "saturation")


@pytest.mark.parametrize("noise", [0.0, 4.0], ids=["exact", "noise"])
@pytest.mark.parametrize("efficiency", EFFICIENCIES)
@pytest.mark.parametrize("place", [in_header, in_attributes], ids=["header", "attributes"])
def test_recognised_by_its_signal_alone(server, place, efficiency, noise):
    reply = server.exchange(*place("T1map_SAX", efficiency, noise))
    flagged = all(Flag.SATURATION_RECOVERY.value in result.flags for result in reply.results)
    expect(flagged, "a MOLLI fit of saturation recovery came back", reply)
    expect(bool(reply.results) or reply.says("saturation"), "no message says saturation recovery", reply)


def test_a_finished_map_of_it_is_a_map(server):
    meta = {"SequenceDescription": "SASHA_T1map_MOCO_T1", "ImageType": ["DERIVED", "PRIMARY", "M"]}
    result = only_map(server.exchange([image(whole(PHANTOM.t1_map()), meta)]))
    assert result.record["scanner_made_map"]


def test_short_t1_after_contrast_is_no_saturation_recovery(server):
    """All but the first two images are beyond the zero crossing: they rise as after saturation."""
    phantom, times = Phantom(wall_t1=350.0, cavity_t1=250.0), (150.0, 230.0, 310.0, 1000.0, 1900.0, 2800.0)
    attributes = described("T1map_MOLLI_post", "InversionTime", times)
    reply = server.exchange(series(whole(phantom.molli(times)), attributes), header_xml(limits={"set": 5}))
    only_map(reply, wall=350.0, phantom=phantom)


def test_a_single_saturated_image_is_no_series(server):
    images = series(recovery(1.0)[1:2], described("SASHA_scout", "InversionTime", [600.0]))
    no_map(server.exchange(images, header_xml()))
