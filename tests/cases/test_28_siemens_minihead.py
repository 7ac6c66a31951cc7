"""Siemens' inline interface: the inversion time stands in ``IceMiniHead`` alone, and both raw and
motion-corrected images of a slice come.

The wall of the motion-corrected images has 1000 ms where that of the raw ones has 950, so that a value tells
which were fitted.
"""

import base64

import pytest

from inline.data.flags import Flag

from .outcomes import PHANTOM, expect, only_map, right, right_or_reported
from .phantom import MOLLI_TIMES, Phantom, whole
from .wire import TO_APEX, header_xml, image

RAW, CORRECTED = 950.0, 1000.0
HEADER = header_xml("T1map_MOLLI", ti=(100.0, 180.0), limits={"set": 7, "slice": 2})
"""The header's list holds the inversions of the protocol, not the times of the images."""
SLICES = 3


def mini_head(time, *, description="T1map_MOLLI", index=1, clock="101220.000000", more=()):
    """The parameters of one image as text; ``more`` are further lines of it."""
    lines = [
        "<XProtocol>",
        "{",
        '  <Name> "MiniHead"',
        '  <ParamMap."DICOM">',
        "  {",
        f'    <ParamDouble."TI">  {{ <Precision> 6  {time:.6f} }}' if time is not None else "",
        '    <ParamDouble."TE">  { <Precision> 6  1.120000 }',
        f'    <ParamString."AcquisitionTime">  {{ "{clock}" }}',
        f'    <ParamString."SequenceDescription">  {{ "{description}" }}' if description else "",
        f'    <ParamLong."InstanceNumber">  {{ {index} }}',
        *more,
        "  }",
        "}",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def from_mini_head(time, index, description="T1map_MOLLI", text=mini_head, **more):
    """Attributes of an image as the interface sends them."""
    own = text(time, description=description, index=index, clock=f"1012{20 + index:02d}.000000")
    return {
        "DataRole": "Image",
        "SequenceDescription": description,
        "ImageTypeValue4": ["M", "ND"],
        "IceMiniHead": encoded(own),
        **more,
    }


def from_attribute(time, index, description="T1map_MOLLI"):
    return {"SequenceDescription": description, "InversionTime": time}


def examination(attributes, *, wall=RAW, series_index=1, description="T1map_MOLLI", slices=SLICES):
    """Images of all slices in the order of acquisition."""
    stack = whole(Phantom(wall_t1=wall).molli())
    return [
        image(
            pixels,
            attributes(time, k + 1, description),
            set=k,
            slice=index,
            position=TO_APEX * 10 * index,
            image_index=k + 1,
            image_series_index=series_index,
            acquisition_time_stamp=1000 * index + 40 * k,
        )
        for index in range(slices)
        for k, (pixels, time) in enumerate(zip(stack, MOLLI_TIMES, strict=True))
    ]


def one_map_a_slice(reply, wall, *, corrected, slices=SLICES, may=()):
    """Right maps of all slices, and each says whether it is made of motion-corrected images."""
    __tracebackhide__ = True
    found = [result.record["slice_index"] for result in reply.results]
    expect(found == list(range(slices)), f"one result for each of {slices} slices is right", reply)
    for result in reply.results:
        right(result, reply, wall=wall, may=may)
        expect(result.record["motion_corrected"] is corrected, "which images it is made of", reply)


ATTRIBUTES = pytest.mark.parametrize(
    "attributes", [from_mini_head, from_attribute], ids=["MiniHead", "attribute"]
)


@ATTRIBUTES
def test_raw_images_alone(server, attributes):
    reply = server.exchange(examination(attributes), HEADER)
    one_map_a_slice(reply, RAW, corrected=False)


@ATTRIBUTES
def test_motion_corrected_images_alone(server, attributes):
    images = examination(attributes, wall=CORRECTED, description="T1map_MOLLI_MOCO")
    one_map_a_slice(server.exchange(images, HEADER), CORRECTED, corrected=True)


@ATTRIBUTES
@pytest.mark.parametrize("series_index", [1, 2], ids=["same series", "series of their own"])
@pytest.mark.parametrize("order", ["raw first", "corrected first", "slice by slice", "image by image"])
def test_raw_and_motion_corrected_images(server, attributes, series_index, order):
    raw = examination(attributes)
    corrected = examination(
        attributes, wall=CORRECTED, description="T1map_MOLLI_MOCO", series_index=series_index
    )
    if order == "raw first":
        images = raw + corrected
    elif order == "corrected first":
        images = corrected + raw
    elif order == "slice by slice":
        images = [one for k in range(0, len(raw), 8) for one in raw[k : k + 8] + corrected[k : k + 8]]
    else:
        images = [one for pair in zip(raw, corrected, strict=True) for one in pair]
    reply = server.exchange(images, HEADER)
    one_map_a_slice(reply, CORRECTED, corrected=True)


@pytest.mark.parametrize("series_index", [1, 2], ids=["same series", "series of their own"])
@pytest.mark.parametrize(
    "mark",
    [
        {"ImageType": ["DERIVED", "PRIMARY", "M", "ND", "MOCO"]},
        {"ImageTypeValue4": ["M", "ND", "MOCO"]},
        {"GADGETRON_DataRole": "MOCO"},
        {"GADGETRON_SeqDescription": "_MOCO"},
        {"ImageProcessingHistory": ["MOCO"]},
        {"SequenceDescriptionAdditional": "MOCO"},
    ],
    ids=lambda mark: next(iter(mark)),
)
def test_other_marks_of_motion_correction(server, series_index, mark):
    """The description is the same for both kinds."""

    def marked(time, index, description):
        return {**from_attribute(time, index, description), **mark}

    images = examination(from_attribute) + examination(marked, wall=CORRECTED, series_index=series_index)
    one_map_a_slice(server.exchange(images, HEADER), CORRECTED, corrected=True)


IMAGE_TYPES = {
    "description": {"description": "T1map_MOLLI_MOCO"},
    "image type": {"more": ['    <ParamString."ImageType">\t{ "DERIVED\\PRIMARY\\M\\ND\\MOCO" }']},
    "fourth value": {
        "more": [
            '    <ParamString."ImageTypeValue3">\t{ "M" }',
            '    <ParamArray."ImageTypeValue4">',
            "    {",
            '      <DefaultSize> 1 <MaxSize> 2147483647 <Default> <ParamString."">{ }',
            '      { "ND" }',
            '      { "MOCO" }',
            "    }",
        ]
    },
}


@pytest.mark.parametrize("where", IMAGE_TYPES)
def test_the_mini_head_alone_says_that_images_are_motion_corrected(server, where):
    def marked(time, index, description):
        text = mini_head(time, index=index, **IMAGE_TYPES[where])
        return {"DataRole": "Image", "IceMiniHead": encoded(text)}

    def raw(time, index, description):
        return {"DataRole": "Image", "IceMiniHead": encoded(mini_head(time, index=index))}

    images = examination(raw) + examination(marked, wall=CORRECTED, series_index=2)
    one_map_a_slice(server.exchange(images, HEADER), CORRECTED, corrected=True)


def test_only_one_slice_has_motion_corrected_images(server):
    raw = examination(from_attribute)
    corrected = examination(
        from_attribute, wall=CORRECTED, description="T1map_MOLLI_MOCO", series_index=2, slices=1
    )
    reply = server.exchange(raw + corrected, HEADER)
    found = [result.record["slice_index"] for result in reply.results]
    expect(found == [0, 1, 2], "one result for each of 3 slices is right", reply)
    for result, wall in zip(reply.results, (CORRECTED, RAW, RAW), strict=True):
        right(result, reply, wall=wall)
        expect(result.record["motion_corrected"] == (wall == CORRECTED), "which images it is of", reply)


def test_motion_corrected_images_that_are_not_complete(server):
    """The connection ends after five of eight: one result, whose value and word agree."""
    corrected = examination(
        from_attribute, wall=CORRECTED, description="T1map_MOLLI_MOCO", series_index=2, slices=1
    )
    reply = server.exchange(examination(from_attribute, slices=1) + corrected[:5], HEADER)
    expect(len(reply.results) == 1, "one result is right", reply)
    wall = CORRECTED if reply.results[0].record["motion_corrected"] else RAW
    right(reply.results[0], reply, wall=wall)


FORMS = {
    "no precision": lambda text: text.replace("<Precision> 6 ", ""),
    "one line": lambda text: " ".join(text.split()),
    "no blanks": lambda text: text.replace(">  {", ">{"),
    "tabs": lambda text: text.replace(">  {", ">\t{"),
    "the parameters alone": lambda text: text[text.index("<ParamMap") :],
    "other maps before": lambda text: '<XProtocol> { <ParamMap."CONTROL"> { } }\n' + text,
    "a text that mentions TI": lambda text: text.replace(
        '<Name> "MiniHead"', '<ParamString."Comment"> { "TI { 5 } <ParamDouble." }'
    ),
    "NUL at the end": lambda text: text + "\0",
    "Latin-1": lambda text: text,
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_text(server, form):
    def attributes(time, index, description):
        text = FORMS[form](mini_head(time, index=index))
        data = text.replace("MiniHead", "Köpfchen").encode("latin-1") if form == "Latin-1" else text.encode()
        return {"SequenceDescription": description, "IceMiniHead": base64.b64encode(data).decode()}

    only_map(server.exchange(examination(attributes, slices=1), HEADER))


BROKEN = {
    "no base64": "%%%",
    "no text": base64.b64encode(bytes(range(256))).decode(),
    "no time": encoded(mini_head(None)),
    "an open brace": encoded('<XProtocol> { <ParamMap."DICOM"> { <ParamDouble."TI"> { '),
    "a word for the time": encoded('<ParamMap."DICOM"> { <ParamDouble."TI"> { <Precision> 6 soon } }'),
    "no value": encoded('<ParamMap."DICOM"> { <ParamDouble."TI"> { } }'),
    "negative": encoded(mini_head(-1.0)),
    "braces without end": encoded("{" * 60_000),
    "blanks without end": encoded('<ParamDouble."TI">' + " " * 60_000),
}


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
def test_an_unreadable_mini_head(server, value):
    def attributes(time, index, description):
        own = from_mini_head(time, index, description)
        return own if index != 3 else {**own, "IceMiniHead": value}

    reply = server.exchange(examination(attributes, slices=1), HEADER)
    right_or_reported(
        reply, "image|IceMiniHead|time", flags={Flag.UNREADABLE_TIMES}, may={Flag.UNREADABLE_ATTRIBUTES}
    )


def test_the_mini_head_names_the_sequence(server):
    """Neither attribute nor header names it."""

    def attributes(time, index, description):
        return {"DataRole": "Image", "IceMiniHead": encoded(mini_head(time, index=index))}

    images = examination(attributes)
    one_map_a_slice(server.exchange(images, header_xml(ti=(100.0, 180.0))), RAW, corrected=False)


def test_a_finished_map_by_its_mini_head(server):
    types = ['    <ParamString."ImageType">  { "DERIVED\\PRIMARY\\M\\T1 MAP" }']
    text = mini_head(None, description="T1map_MOLLI_MOCO_T1", more=types)
    meta = {"DataRole": "Image", "IceMiniHead": encoded(text)}
    result = only_map(server.exchange([image(whole(PHANTOM.t1_map()), meta)], HEADER))
    assert result.record["scanner_made_map"]
