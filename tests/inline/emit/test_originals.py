"""Originals go back byte for byte, or with one attribute more, or not at all."""

from dataclasses import replace

import ismrmrd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.emit.originals import returned
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from inline.mrd.meta import format_meta

DOCUMENT = '<?xml version="1.0"?>\n<ismrmrdMeta>%s\n</ismrmrdMeta>\n'
OTHER = "<meta><name>TI</name><value>100</value><value>é</value></meta><!-- kept -->"


def image(attributes):
    header = ImageHeader(matrix_size=(2, 2, 1), data_type=1, attribute_string_len=len(attributes))
    return Image(header, attributes, bytes(8))


@given(st.binary(max_size=200), st.integers(0, 2**64 - 1))
def test_as_is_is_the_same_object_and_none_is_none(attributes, flags):
    one = image(attributes)
    one = replace(one, header=replace(one.header, flags=flags))
    assert returned(one, "as-is") is one
    assert returned(one, "none") is None


@pytest.mark.parametrize("codec", ["utf-8", "latin-1"])
def test_every_byte_stays_where_the_attribute_can_be_inserted(codec):
    attributes = (DOCUMENT % OTHER).encode(codec) + b"\0"
    back = returned(image(attributes), "keep-geometry")
    added = b"<meta><name>Keep_image_geometry</name><value>1</value></meta>"
    assert back.attributes == attributes.replace(b"</ismrmrdMeta>", added + b"</ismrmrdMeta>")
    assert back.header.attribute_string_len == len(back.attributes)
    assert back.meta() == {"TI": ("100", "é"), "Keep_image_geometry": ("1",)}


@pytest.mark.parametrize(
    "attributes",
    [
        b"",
        b"<ismrmrdMeta/>",
        (DOCUMENT % "<meta><name>Keep_image_geometry</name><value>0</value></meta>").encode(),
        b"<ismrmrdMeta></ismrmrdMeta><!-- </ismrmrdMeta> -->",
        '<?xml version="1.0" encoding="UTF-16"?><ismrmrdMeta></ismrmrdMeta>'.encode("utf-16"),
    ],
)
def test_the_package_of_others_reads_the_attribute(attributes):
    back = returned(image(attributes), "keep-geometry")
    assert ismrmrd.Meta.deserialize(back.attributes.decode())["Keep_image_geometry"] == "1"
    assert back.header.attribute_string_len == len(back.attributes)
    assert back.data == bytes(8)


@pytest.mark.parametrize(
    "attributes", [b"<broken", b"\xff\xfe\x01\x02", b"<!DOCTYPE a><ismrmrdMeta></ismrmrdMeta>"]
)
def test_what_cannot_be_read_passes_unchanged(attributes):
    one = image(attributes)
    assert returned(one, "keep-geometry") is one


def test_twice_is_once():
    once = returned(image(format_meta({"TI": 5})), "keep-geometry")
    assert returned(once, "keep-geometry") is once


names = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8).map(str.strip)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=8)


@given(st.dictionaries(names.filter(bool), st.lists(texts, min_size=1, max_size=3), max_size=5))
def test_all_other_attributes_stay(meta):
    one = image(format_meta(meta))
    expected = {**one.meta(), "Keep_image_geometry": ("1",)}
    assert returned(one, "keep-geometry").meta() == expected
