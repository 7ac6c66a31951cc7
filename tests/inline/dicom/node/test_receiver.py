import copy
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.errors import InvalidDicomError
from pydicom.pixels import get_decoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    RLELossless,
)

from inline.dicom.node.received import Received
from inline.dicom.node.receiver import read_identity, readable_syntaxes
from inline.dicom.write.objects import encoded

from .. import scanner

IMAGE = scanner.classic(scanner.examination(1, size=96)[1][:1])[0]


@pytest.mark.parametrize(
    ("stated", "expected"), [(None, None), ("11", 11), ("0", None), ("-1", None), ("9" * 9, None)]
)
def test_the_identity_of_an_object(stated, expected):
    image = copy.deepcopy(IMAGE)
    if stated is not None:
        image.NumberOfSeriesRelatedInstances = stated
    uids = image.SOPInstanceUID, image.SeriesInstanceUID, image.StudyInstanceUID
    assert read_identity(encoded(image)) == Received(*uids, expected)


@pytest.mark.parametrize("value", ["", "a.b", "1.2.\u00b2", "../../etc", "1" * 65, "1.2; DROP TABLE object"])
def test_a_uid_that_is_none_is_no_identity(value):
    image = copy.deepcopy(IMAGE)
    image.SeriesInstanceUID = value
    assert read_identity(encoded(image)) is None


def test_uncompressed_objects_are_accepted_and_deflated_ones_are_not():
    syntaxes = readable_syntaxes()
    assert {ImplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless} <= set(syntaxes)
    assert DeflatedExplicitVRLittleEndian not in syntaxes
    assert not any(each.is_encapsulated and not get_decoder(each).is_available for each in syntaxes)


@pytest.mark.parametrize(
    ("plugins", "accepted"),
    [(("pillow",), False), (("gdcm", "pillow"), False), (("pillow", "pylibjpeg"), True)],
)
def test_jpeg_extended_is_accepted_where_its_12_bits_are_decoded(plugins, accepted, monkeypatch):
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.available_plugins", plugins)
    assert (JPEGExtended12Bit in readable_syntaxes()) is accepted


@settings(max_examples=150)
@given(st.data())
def test_damaged_objects_have_an_identity_or_are_none(data):
    content = bytearray(encoded(IMAGE))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(128, min(len(content), 2500) - 1))
        content[place] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(InvalidDicomError):
        read_identity(cut)
