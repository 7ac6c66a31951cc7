"""The codec against the bytes of the ``ismrmrd`` package, and against any split of them."""

from __future__ import annotations

import contextlib
import ctypes
import io
import struct
from dataclasses import fields
from typing import Any

import ismrmrd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from inline.data.errors import ProtocolError
from inline.mrd.image_header import DATA_TYPES, ImageHeader
from inline.mrd.messages import (
    Acquisition,
    Close,
    ConfigFile,
    ConfigText,
    Header,
    Image,
    Message,
    Text,
    Waveform,
)
from inline.mrd.protocol import Decoder, Limits, encode

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50)


def decode(data: bytes) -> list[Message]:
    return list(Decoder().receive(data))


def package_bytes(thing: Any, number: int) -> bytes:
    """The message as Python MRD clients send it: identifier, then what the package serialises."""
    stream = io.BytesIO()
    thing.serialize_into(stream.write)
    return struct.pack("<H", number) + stream.getvalue()


@st.composite
def headers(draw: st.DrawFn) -> ImageHeader:
    u16, u32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
    real = st.floats(width=32, allow_nan=False)
    triple = st.tuples(real, real, real)
    return ImageHeader(
        flags=draw(st.integers(0, 2**64 - 1)),
        measurement_uid=draw(u32),
        field_of_view=draw(triple),
        position=draw(triple),
        read_dir=draw(triple),
        phase_dir=draw(triple),
        slice_dir=draw(triple),
        slice=draw(u16),
        contrast=draw(u16),
        set=draw(u16),
        acquisition_time_stamp=draw(u32),
        physiology_time_stamp=(draw(u32), draw(u32), draw(u32)),
        image_type=draw(st.integers(1, 6)),
        image_index=draw(u16),
        image_series_index=draw(u16),
        user_int=tuple(draw(st.integers(-(2**31), 2**31 - 1)) for _ in range(8)),
        user_float=tuple(draw(real) for _ in range(8)),
    )


@st.composite
def images(draw: st.DrawFn) -> Image:
    dtype = draw(st.sampled_from(list(DATA_TYPES.values())))
    shape = draw(hnp.array_shapes(min_dims=4, max_dims=4, min_side=1, max_side=4))
    raw = draw(st.binary(min_size=int(np.prod(shape)) * dtype.itemsize, max_size=int(np.prod(shape)) * 16))
    pixels = np.frombuffer(raw[: int(np.prod(shape)) * dtype.itemsize], dtype=dtype).reshape(shape)
    names = st.text("abcXYZ_", min_size=1, max_size=8)
    values = st.lists(st.text("abc <&>\"'é0123", max_size=8), min_size=1, max_size=3).map(tuple)
    meta = draw(st.dictionaries(names, values, max_size=3))
    return Image.from_pixels(pixels, draw(headers()), meta)


@st.composite
def raw_messages(draw: st.DrawFn) -> Message:
    if draw(st.booleans()):
        waveform = ismrmrd.Waveform.from_array(np.arange(draw(st.integers(1, 20)), dtype=np.uint32)[None])
        return Waveform(package_bytes(waveform, 0)[2:])
    samples = np.ones((draw(st.integers(1, 3)), draw(st.integers(1, 8))), np.complex64)
    trajectory = np.zeros((samples.shape[1], draw(st.integers(1, 3))), np.float32)
    return Acquisition(package_bytes(ismrmrd.Acquisition.from_array(samples, trajectory), 0)[2:])


MESSAGES = st.one_of(
    st.builds(ConfigFile, TEXT),
    st.builds(ConfigText, TEXT),
    st.builds(Header, TEXT),
    st.builds(Text, TEXT),
    images(),
    raw_messages(),
)


@given(st.lists(MESSAGES, max_size=6), st.data())
@settings(max_examples=80)
def test_any_split_gives_the_same_messages(messages: list[Message], data: st.DataObject) -> None:
    stream = b"".join(encode(message) for message in messages) + encode(Close())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    decoder = Decoder()
    received: list[Message] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received.extend(decoder.receive(stream[start:end]))
    assert received == [*messages, Close()]
    assert decoder.closed
    assert decoder.at_boundary
    assert b"".join(encode(message) for message in received) == stream


PACKAGE_TYPES = [dtype for number, dtype in DATA_TYPES.items() if number != 4]


@pytest.mark.parametrize("dtype", PACKAGE_TYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 3, 5), (4, 1, 3, 5), (2, 6, 3, 5)], ids=str)
def test_images_of_the_package_are_read(dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    theirs = ismrmrd.Image.from_array(pixels, transpose=False)
    theirs.image_series_index, theirs.slice, theirs.position = 7, 3, (1.5, -2.5, 9.0)
    theirs.user_float[2] = 4.25
    theirs.attribute_string = ismrmrd.Meta({"DataRole": "Image", "TI": ["100.5", "180"]}).serialize()
    data = package_bytes(theirs, 1022)
    (ours,) = decode(data)
    assert isinstance(ours, Image)
    np.testing.assert_array_equal(ours.pixels, pixels)
    assert ours.header.image_series_index == 7
    assert ours.header.slice == 3
    assert ours.header.position == (1.5, -2.5, 9.0)
    assert ours.header.user_float[2] == 4.25
    assert ours.meta() == {"DataRole": ("Image",), "TI": ("100.5", "180")}
    assert encode(ours) == data


@pytest.mark.parametrize("dtype", PACKAGE_TYPES, ids=str)
def test_the_package_reads_our_images(dtype: np.dtype[Any]) -> None:
    pixels = np.arange(2 * 3 * 5).reshape(2, 1, 3, 5).astype(dtype)
    header = ImageHeader(
        slice=2, image_index=11, user_int=(1, -2, 3, 4, 5, 6, 7, 8), phase_dir=(0.0, 0.6, 0.8)
    )
    ours = Image.from_pixels(pixels, header, {"T1": 1000, "ROI_endo": ["1.0", "2.0"]})
    theirs = ismrmrd.Image.deserialize_from(io.BytesIO(encode(ours)[2:]).read)
    np.testing.assert_array_equal(theirs.data, pixels)
    assert (theirs.slice, theirs.image_index, list(theirs.user_int)) == (2, 11, [1, -2, 3, 4, 5, 6, 7, 8])
    assert list(theirs.phase_dir) == pytest.approx([0.0, 0.6, 0.8])
    assert dict(ismrmrd.Meta.deserialize(theirs.attribute_string)) == {
        "T1": "1000",
        "ROI_endo": ["1.0", "2.0"],
    }


def test_header_layout_is_the_packages() -> None:
    names = [name for name, _ in ismrmrd.ImageHeader._fields_]
    assert names == [each.name for each in fields(ImageHeader) if each.init]
    header = ismrmrd.ImageHeader()
    ctypes.memmove(ctypes.addressof(header), bytes(range(198)), 198)
    ours = ImageHeader.unpack(bytes(range(198)))
    for name in names:
        theirs = getattr(header, name)
        expected = tuple(theirs) if hasattr(theirs, "__len__") else theirs
        np.testing.assert_equal(getattr(ours, name), expected, err_msg=name)


def test_four_byte_integers_as_in_the_c_library() -> None:
    pixels = np.array([[[[-(2**31), 2**31 - 1]]]], dtype=np.int32)
    image = Image.from_pixels(pixels, ImageHeader())
    assert image.header.data_type == 4
    assert len(image.data) == 8
    assert decode(encode(image)) == [image]


@pytest.mark.parametrize(
    ("thing", "number", "kind"),
    [
        (ismrmrd.Acquisition.from_array(np.ones((3, 16), np.complex64)), 1008, Acquisition),
        (
            ismrmrd.Acquisition.from_array(np.ones((2, 8), np.complex64), np.ones((8, 3), np.float32)),
            1008,
            Acquisition,
        ),
        (ismrmrd.Waveform.from_array(np.ones((4, 9), np.uint32)), 1026, Waveform),
    ],
)
def test_raw_messages_of_the_package_pass_unchanged(thing: Any, number: int, kind: type) -> None:
    data = package_bytes(thing, number)
    (message, close) = decode(data + encode(Close()))
    assert isinstance(message, kind)
    assert close == Close()
    assert encode(message) == data


@pytest.mark.parametrize("flag", [ismrmrd.ACQ_COMPRESSION1, ismrmrd.ACQ_COMPRESSION2])
@pytest.mark.parametrize("size", [0, 5, 1000])
def test_a_compressed_acquisition_states_its_length(flag: int, size: int) -> None:
    """As ``gadgetron_ismrmrd_client`` sends one: header, trajectory, u32 length, compressed samples."""
    plain = ismrmrd.Acquisition.from_array(np.ones((2, 8), np.complex64), np.ones((8, 3), np.float32))
    plain.setFlag(flag)
    head = package_bytes(plain, 1008)[: 2 + 340 + 8 * 3 * 4]
    data = head + struct.pack("<I", size) + b"\4\0\4\0\4" * (size // 5)
    text = encode(Text("behind"))
    message, behind = decode(data + text)
    assert isinstance(message, Acquisition)
    assert encode(message) == data
    assert behind == Text("behind")
    decoder = Decoder()
    assert [each for byte in data + text for each in decoder.receive(bytes([byte]))] == [message, behind]


@pytest.mark.parametrize("flag", [ismrmrd.ACQ_COMPRESSION1, ismrmrd.ACQ_COMPRESSION2])
@pytest.mark.parametrize(("samples", "channels"), [(0, 2), (8, 0)])
def test_a_compressed_acquisition_without_samples_states_no_length(flag, samples, channels) -> None:
    """``gadgetron_ismrmrd_client`` writes length and data only where there are any."""
    head = ismrmrd.AcquisitionHeader(
        flags=1 << (flag - 1), number_of_samples=samples, active_channels=channels, trajectory_dimensions=1
    )
    data = struct.pack("<H", 1008) + bytes(head) + bytes(4 * samples)
    message, behind = decode(data + encode(Close()))
    assert (encode(message), behind) == (data, Close())


def test_texts_with_and_without_their_nul() -> None:
    for body in (b"hello", b"hello\0", b"hello\0\0rest"):
        assert decode(struct.pack("<HI", 5, len(body)) + body) == [Text("hello")]


@pytest.mark.parametrize("codec", ["utf-8", "latin-1", "utf-16"])
def test_texts_of_any_encoding(codec):
    text = "Pr\u00fcfung"
    encoded = text.encode(codec)
    counted = struct.pack("<I", len(encoded)) + encoded
    assert decode(struct.pack("<H", 1) + encoded.ljust(1024, b"\0")) == [ConfigFile(text)]
    assert decode(struct.pack("<H", 2) + counted) == [ConfigText(text)]
    assert decode(struct.pack("<H", 3) + counted) == [Header(text)]
    assert decode(struct.pack("<H", 5) + counted) == [Text(text)]


@given(st.binary(min_size=1, max_size=80))
@settings(max_examples=100)
def test_a_header_passes_bit_for_bit(body: bytes) -> None:
    data = struct.pack("<HI", 3, len(body)) + body
    (header,) = decode(data)
    assert encode(header) == data


@given(st.text(max_size=40))
@settings(max_examples=100)
def test_any_text_can_be_sent(text: str) -> None:
    (back,) = decode(encode(Text(text)))
    assert isinstance(back, Text)


@given(st.binary(min_size=198, max_size=198))
@settings(max_examples=200)
def test_an_image_header_passes_bit_for_bit(packed: bytes) -> None:
    # Any bit pattern in any field, signalling NaN among them; only pixel type and size must be such.
    head = packed[:2] + struct.pack("<H", 5) + packed[4:16] + struct.pack("<3H", 2, 1, 1) + packed[22:34]
    head += struct.pack("<H", 1) + packed[36:]
    data = struct.pack("<H", 1022) + head + struct.pack("<Q", 0) + b"\1\0\xa0\x7f" * 2
    (image,) = decode(data)
    (again,) = decode(data)
    assert encode(image) == data
    assert image == again
    assert len({image, again}) == 1


def test_a_signalling_nan_stays_one() -> None:
    packed = bytearray(ImageHeader(matrix_size=(1, 1, 1)).pack())
    packed[36:40] = struct.pack("<I", 0x7FA00001)  # position, left
    assert ImageHeader.unpack(bytes(packed)).pack() == bytes(packed)


@given(st.binary(max_size=600))
@settings(max_examples=200)
def test_garbage_raises_nothing_but_protocol_errors(data: bytes) -> None:
    try:
        for message in decode(data):
            if isinstance(message, Image):
                message.meta()
    except ProtocolError:
        pass


@given(st.binary(min_size=198, max_size=198))
@settings(max_examples=100)
def test_any_image_header_is_refused_or_waits(head: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert decode(struct.pack("<H", 1022) + head + b"\0" * 8) in (
            [],
            [Image(ImageHeader.unpack(head), b"", b"")],
        )


def test_limits_are_kept_before_the_bytes_come() -> None:
    limits = Limits(text_bytes=10, attribute_bytes=10, pixel_bytes=10, raw_bytes=400)
    wide = ImageHeader(matrix_size=(60000, 60000, 60000), channels=60000).pack()
    small = ImageHeader(matrix_size=(1, 1, 1)).pack()
    acquisition = bytearray(340)
    struct.pack_into("<H2xH", acquisition, 34, 100, 100)
    compressed = bytearray(344)
    struct.pack_into("<Q24xH2xH", compressed, 2, 1 << 53, 10, 1)
    struct.pack_into("<I", compressed, 340, 2**32 - 1)
    waveform = bytearray(40)
    struct.pack_into("<HH", waveform, 28, 100, 1)
    for number, body, what in (
        (2, struct.pack("<I", 11), "configuration"),
        (3, struct.pack("<I", 11), "header"),
        (5, struct.pack("<I", 2**32 - 1), "text"),
        (1026, bytes(waveform), "waveform"),
        (1022, wide, "image of"),
        (1022, small + struct.pack("<Q", 2**63), "attribute"),
        (1008, bytes(acquisition), "acquisition"),
        (1008, bytes(compressed), "acquisition"),
    ):
        with pytest.raises(ProtocolError, match=what):
            list(Decoder(limits).receive(struct.pack("<H", number) + body))


def test_unknown_identifier_is_named() -> None:
    with pytest.raises(ProtocolError, match="20304"):
        decode(b"POST / HTTP/1.1")


def test_a_stream_of_mrd_2_is_named() -> None:
    with pytest.raises(ProtocolError, match=r"MRD 2 stream.*mrd_to_ismrmrd"):
        decode(b"yardl\x01\x00\x00\x00{}")


@pytest.mark.parametrize("behind", [encode(Close()), b"x", b"\0" * 9, encode(Text("abc"))])
def test_what_follows_the_close_is_dropped(behind: bytes) -> None:
    assert decode(encode(Close()) + behind) == [Close()]
    decoder = Decoder()
    assert [*decoder.receive(encode(Close())), *decoder.receive(behind)] == [Close()]


@pytest.mark.parametrize("behind", [encode(Close()) * 2, b"\0" * 9, encode(Text("abc"))])
def test_what_follows_the_close_is_dropped_behind_integers_too(behind: bytes) -> None:
    image = encode(Image(ImageHeader(matrix_size=(1, 1, 1), data_type=4), b"", b"\0" * 4))
    data = image + encode(Close()) + behind
    decoder = Decoder()
    by_byte = [each for byte in data for each in decoder.receive(bytes([byte]))]
    assert decode(data) == by_byte == [*decode(image), Close()]


@pytest.mark.parametrize("value", [0, 5, 300])
def test_integers_of_the_python_package_are_named_as_the_cause(value: int) -> None:
    """It sends 64 bits under data type 4, so that the second half of the pixels is taken for messages."""
    image = ismrmrd.Image.from_array(np.full((16, 16), value, np.int64), transpose=False)
    data = package_bytes(image, 1022)
    assert len(data) > 16 * 16 * 8
    with pytest.raises(ProtocolError, match=r"32-bit integers .data type 4.*ismrmrd sends 64 bits"):
        decode(data * 2 + encode(Close()))


def test_other_images_are_no_cause_of_an_error() -> None:
    small = encode(Image(ImageHeader(matrix_size=(1, 1, 1), data_type=4), b"", b"\0" * 4))
    other = encode(Image(ImageHeader(matrix_size=(1, 1, 1), data_type=1), b"", b"\0" * 2))
    with pytest.raises(ProtocolError, match=r"identifier 7 is not one of [0-9, ]+; is this an MRD client\?$"):
        decode(small + other + b"\7\0")
    assert decode(small + encode(Close()) * 2)[1:] == [Close()]


@pytest.mark.parametrize(("number", "name"), [(6, "query"), (8, "error")])
def test_messages_that_gadgetron_knows_are_named(number: int, name: str) -> None:
    with pytest.raises(ProtocolError, match=rf"identifier {number} .Gadgetron's {name}"):
        decode(struct.pack("<H", number))


def test_a_cut_connection_is_seen() -> None:
    decoder = Decoder()
    assert list(decoder.receive(encode(Text("abc"))[:-1])) == []
    assert not decoder.at_boundary


def test_configuration_name_must_fit() -> None:
    with pytest.raises(ProtocolError, match="at most 1023"):
        encode(ConfigFile("x" * 1024))


@pytest.mark.parametrize("attributes", [b"<broken", b'<!DOCTYPE a [<!ENTITY b "c">]><a/>', b"\xff\xfe<\x00"])
def test_unreadable_attributes_still_pass(attributes: bytes) -> None:
    image = Image(ImageHeader(matrix_size=(1, 1, 1)), attributes, b"\0" * 4)
    (back,) = decode(encode(image))
    assert back == image
    with pytest.raises(ProtocolError):
        image.meta()
