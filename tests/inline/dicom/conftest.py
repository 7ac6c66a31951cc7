"""A simulated examination of two slices, and its series as they come by MRD."""

import pytest

from inline.assembly.assembler import SeriesAssembler
from inline.mrd.header import parse_header
from inline.replay.simulate import header_xml, simulate_examination, to_images


@pytest.fixture(scope="session")
def simulated():
    return simulate_examination(2, seed=5, size=96)


@pytest.fixture(scope="session")
def images(simulated):
    return to_images(simulated)


@pytest.fixture(scope="session")
def streamed(simulated, images):
    """Series of the stream by (quantity, slice)."""
    assembler = SeriesAssembler(parse_header(header_xml(simulated)))
    found = [each for image in images for each in assembler.add(image, 0.0)] + assembler.finish()
    return {(each.quantity, each.identity.slice_index): each for each in found}
