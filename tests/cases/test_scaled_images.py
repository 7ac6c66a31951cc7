"""Each image scaled to the same brightness, as Gadgetron's ``AutoScaleGadget`` does in front of a module.

T1 is then 6 to 10 % too large and T2 up to a half; nothing in the images' attributes says so.
"""

import numpy as np
import pytest

from inline.data.flags import Flag

from .outcomes import PHANTOM, expect, only_map
from .phantom import MOLLI_TIMES, T2_TIMES, Phantom, whole
from .wire import described, header_xml, series

SCALED = Flag.SCALED_IMAGES.value
PHANTOMS = {"native": PHANTOM, "after contrast": Phantom(wall_t1=450.0, cavity_t1=300.0)}


def factors(stack, brightest=2048.0, percentile=99.0):
    return brightest / np.percentile(stack, percentile, axis=(1, 2))


def scaled(stack, **how):
    return stack * factors(stack, **how)[:, None, None]


def t1(stack, **more):
    attributes = described("T1map_MOLLI", "InversionTime", MOLLI_TIMES, **more)
    return series(stack, attributes), header_xml(limits={"set": 7})


def t2(stack, **more):
    attributes = described("T2map", "T2PrepDuration", T2_TIMES, **more)
    return series(stack, attributes), header_xml(limits={"set": 2})


def flagged(reply):
    """One result at most, which bears the flag and a sentence; or a message."""
    __tracebackhide__ = True
    expect(len(reply.results) <= 1, "one result is right", reply)
    for result in reply.results:
        expect(SCALED in result.flags, f"the flag {SCALED} is missing", reply)
    expect(reply.says("scal"), "no sentence says that images are scaled", reply)


@pytest.mark.parametrize("brightest", [2048.0, 4095.0, 30000.0])
@pytest.mark.parametrize("phantom", PHANTOMS.values(), ids=PHANTOMS)
def test_t1(server, phantom, brightest):
    flagged(server.exchange(*t1(whole(scaled(phantom.molli(), brightest=brightest)))))


@pytest.mark.parametrize("brightest", [2048.0, 4095.0, 30000.0])
def test_t2(server, brightest):
    flagged(server.exchange(*t2(whole(scaled(PHANTOM.t2prep(), brightest=brightest)))))


def test_in_floating_point(server):
    flagged(server.exchange(*t1(np.float32(scaled(PHANTOM.molli(), brightest=1.0)))))


@pytest.mark.parametrize("made", [t1, t2])
def test_with_one_pixel_that_is_no_number(server, made):
    stack = np.float32(scaled(PHANTOM.molli() if made is t1 else PHANTOM.t2prep()))
    stack[0, 0, 0] = np.nan
    reply = server.exchange(*made(stack))
    flagged(reply)
    expect(Flag.NON_FINITE_PIXELS.value in reply.results[0].flags, "the pixel is not reported", reply)


@pytest.mark.parametrize("quantity", ["T1", "T2"])
@pytest.mark.parametrize(
    "names", [("GADGETRON_ScaleRatio", 1), ("RescaleSlope", -1)], ids=lambda names: names[0]
)
def test_images_that_state_their_own_scale(server, quantity, names):
    """The same pixels, with the factor of each beside them: nothing is wrong."""
    name, power = names
    stack = PHANTOM.molli() if quantity == "T1" else PHANTOM.t2prep()
    images, header = (t1 if quantity == "T1" else t2)(whole(scaled(stack, brightest=30000.0)), SeriesNumber=4)
    times = MOLLI_TIMES if quantity == "T1" else T2_TIMES
    key = "InversionTime" if quantity == "T1" else "T2PrepDuration"
    own = [
        {"SequenceDescription": f"{quantity}map", key: time, name: factor**power}
        for time, factor in zip(times, factors(stack, brightest=30000.0), strict=True)
    ]
    images = series([image.pixels[0, 0] for image in images], own)
    only_map(server.exchange(images, header), quantity)


@pytest.mark.parametrize("phantom", PHANTOMS.values(), ids=PHANTOMS)
def test_images_as_acquired_bear_no_flag(server, phantom):
    only_map(server.exchange(*t1(whole(phantom.molli()))), wall=phantom.wall_t1, phantom=phantom)


@pytest.mark.parametrize(("gain", "clipped"), [(0.9, False), (1.03, True)])
def test_t2_of_a_wall_that_is_clipped_at_12_bits(server, gain, clipped):
    """Signal of the wall without preparation above the limit: T2 is too large, though the fit is good."""
    stack = PHANTOM.t2prep() * (gain * 4095.0 / np.median(PHANTOM.t2prep()[0][PHANTOM.wall]))
    noisy = np.abs(stack + np.random.default_rng(1).normal(0.0, 15.0, stack.shape))
    reply = server.exchange(*t2(whole(np.minimum(noisy, 4095.0))))
    expect(len(reply.results) == 1, "one result is right", reply)
    expect((Flag.CLIPPED_IMAGES.value in reply.results[0].flags) is clipped, "wrong about clipping", reply)
    expect(reply.says("clipped at the largest value") is clipped, "wrong sentence", reply)
