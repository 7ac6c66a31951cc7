"""Text that is not UTF-8, or no text: no image is lost over it, and the times are read where they can be."""

import json

import pytest

from inline.data.flags import Flag

from .outcomes import PHANTOM, only_map, right_or_reported
from .phantom import MOLLI_TIMES, whole
from .wire import configuration_file, described, header_xml, meta_xml, series, text_message

DECLARED = '<?xml version="1.0" encoding="{}"?>'
PLAIN = '<?xml version="1.0"?>'
NAME = "MOLLI Herzkörper"


def encoded(xml):
    """A document that begins with a plain declaration, as bytes in many encodings."""

    def declared(name):
        return xml.replace(PLAIN, DECLARED.format(name))

    return {
        "UTF-8": xml.encode(),
        "Latin-1": xml.encode("latin-1"),
        "Latin-1, declared": declared("ISO-8859-1").encode("latin-1"),
        "Windows-1252, declared": declared("windows-1252").encode("cp1252"),
        "UTF-8 with byte order mark": b"\xef\xbb\xbf" + xml.encode(),
        "UTF-16, declared": declared("UTF-16").encode("utf-16"),
        "UTF-16 big-endian, declared": b"\xfe\xff" + declared("UTF-16").encode("utf-16-be"),
        "UTF-8 declared as UTF-16": declared("UTF-16").encode(),
        "Latin-1 declared as UTF-8": declared("UTF-8").encode("latin-1"),
        "UTF-8 declared as what does not exist": declared("x-scanner-8").encode(),
        "blank lines before the declaration": b"\n\n" + xml.encode(),
        "no declaration": xml.replace(PLAIN, "").encode(),
    }


BROKEN = {
    "unescaped ampersand": lambda xml: xml.replace("Herz", "T1&T2 ").encode(),
    "control character": lambda xml: xml.replace("ö", "\x1f").encode(),
    "NUL in the text": lambda xml: xml.replace("ö", "\0").encode(),
    "bytes of no encoding": lambda xml: xml.encode("utf-8").replace(b"\xc3\xb6", b"\xff\xfe\x81"),
    "cut off": lambda xml: xml.encode()[: len(xml) * 3 // 4],
    "no XML": lambda xml: b"Dummy XML header",
    "nothing": lambda xml: b"",
}
TIMED = header_xml(NAME, ti=MOLLI_TIMES, limits={"set": 7})
ATTRIBUTES = described("T1map_MOLLI", "InversionTime", MOLLI_TIMES, ImageComments="Herzkörper")


def complete():
    """Images that say all about themselves."""
    return series(whole(PHANTOM.molli()), described("T1map_MOLLI", "InversionTime", MOLLI_TIMES))


@pytest.mark.parametrize("form", encoded(TIMED))
def test_header(server, form):
    only_map(server.exchange(complete(), encoded(header_xml(NAME, limits={"set": 7}))[form]))


@pytest.mark.parametrize("form", encoded(TIMED))
def test_header_that_alone_has_the_times(server, form):
    only_map(server.exchange(series(whole(PHANTOM.molli())), encoded(TIMED)[form]))


@pytest.mark.parametrize("form", BROKEN)
def test_broken_header(server, form):
    only_map(server.exchange(complete(), BROKEN[form](header_xml(NAME))), may={Flag.UNREADABLE_ATTRIBUTES})


@pytest.mark.parametrize("form", BROKEN)
def test_broken_header_that_alone_has_the_times(server, form):
    reply = server.exchange(series(whole(PHANTOM.molli())), BROKEN[form](TIMED))
    right_or_reported(reply, "header|time", may={Flag.UNREADABLE_TIMES, Flag.UNREADABLE_ATTRIBUTES})


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252", "utf-8"])
@pytest.mark.parametrize(
    "text",
    ["Prüfung", json.dumps({"parameters": {"config": "mapping", "site": "Köln"}}, ensure_ascii=False)],
    ids=["words", "JSON"],
)
def test_text_after_the_header(server, text, encoding):
    reply = server.exchange(
        complete(), header_xml(limits={"set": 7}), extra=[text_message(5, text.encode(encoding))]
    )
    only_map(reply)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8"])
@pytest.mark.parametrize(
    "text",
    [
        "<configuration><!-- Prüfung --></configuration>",
        '<configuration><myostream config="mapping" site="Köln"/></configuration>',
        '{"parameters": {"config": "mapping", "site": "Köln"}}',
    ],
    ids=["comment", "chain", "JSON"],
)
def test_configuration_text(server, text, encoding):
    configuration = text_message(2, text.encode(encoding), nul=False)
    only_map(server.exchange(complete(), header_xml(limits={"set": 7}), configuration=configuration))


@pytest.mark.parametrize(
    "name",
    ["Prüfung".encode("latin-1"), b"mapping\0\xff\xfe\xfd", b"\xff" * 1024],
    ids=["Latin-1", "noise behind the name", "noise alone"],
)
def test_configuration_file_name(server, name):
    reply = server.exchange(complete(), header_xml(limits={"set": 7}), configuration=configuration_file(name))
    only_map(reply)


@pytest.mark.parametrize("form", encoded(PLAIN))
def test_attributes(server, form):
    attributes = [encoded(meta_xml(own).decode())[form] for own in ATTRIBUTES]
    reply = server.exchange(series(whole(PHANTOM.molli()), attributes), header_xml(limits={"set": 7}))
    only_map(reply, may={Flag.UNREADABLE_ATTRIBUTES})


@pytest.mark.parametrize("form", [form for form in BROKEN if form != "nothing"])
def test_broken_attributes(server, form):
    """Where the times can be read all the same they are; else it is said what cannot be read."""
    attributes = [BROKEN[form](meta_xml(own).decode()) for own in ATTRIBUTES]
    reply = server.exchange(series(whole(PHANTOM.molli()), attributes), header_xml(limits={"set": 7}))
    right_or_reported(reply, "attribute", may={Flag.UNREADABLE_ATTRIBUTES, Flag.UNREADABLE_TIMES})


@pytest.mark.parametrize("form", [form for form in BROKEN if form != "nothing"])
def test_broken_attributes_of_one_image(server, form):
    attributes = [meta_xml(own) for own in ATTRIBUTES]
    attributes[2] = BROKEN[form](attributes[2].decode())
    reply = server.exchange(series(whole(PHANTOM.molli()), attributes), header_xml(limits={"set": 7}))
    right_or_reported(reply, "attribute|time", may={Flag.UNREADABLE_ATTRIBUTES, Flag.UNREADABLE_TIMES})


@pytest.mark.parametrize("form", [form for form in BROKEN if form != "nothing"])
def test_broken_attributes_and_the_times_in_the_header(server, form):
    attributes = [BROKEN[form](meta_xml(own).decode()) for own in ATTRIBUTES]
    reply = server.exchange(series(whole(PHANTOM.molli()), attributes), TIMED)
    only_map(reply, may={Flag.UNREADABLE_ATTRIBUTES, Flag.UNREADABLE_TIMES})


def test_a_document_type_is_refused_and_reported(server):
    """Entities make small XML large; no sender of images declares any."""
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;">]>'
    attributes = [meta_xml(own, declaration=PLAIN + bomb) for own in ATTRIBUTES]
    reply = server.exchange(series(whole(PHANTOM.molli()), attributes), header_xml(limits={"set": 7}))
    right_or_reported(reply, "attribute", may={Flag.UNREADABLE_ATTRIBUTES})
