"""Text of every encoding that peers send, and XML that is damaged or hostile."""

import codecs
import sys
from xml.etree import ElementTree

import ismrmrd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inline.data.errors import ProtocolError
from inline.mrd.header import parse_header
from inline.mrd.messages import Header
from inline.mrd.meta import format_meta, parse_meta
from inline.mrd.text import ELEMENTS, decode, legal, parse_xml, without_nul
from inline.replay.client import exchange

NAME = "Herzk\u00f6rper \u00e9\u00df"
DECLARED = '<?xml version="1.0" encoding="{}"?>\n'
XML = "<h><measurementInformation><protocolName>{}</protocolName></measurementInformation></h>"
META = "<ismrmrdMeta><meta><name>{}</name><value>{}</value></meta></ismrmrdMeta>"


@pytest.mark.parametrize("ending", [b"", b"\0", b"\0\0", b"\0\0\0\0rest"])
@pytest.mark.parametrize(
    "codec", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_every_encoding_without_a_declaration(codec, ending):
    text = XML.format(NAME)
    assert decode(text.encode(codec) + ending) == text


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("latin-1", "ISO-8859-1"),
        ("cp1252", "windows-1252"),
        ("utf-16", "UTF-16"),
        ("utf-8", "UTF-8"),
        ("iso-8859-15", "iso-8859-15"),
    ],
)
def test_every_encoding_that_is_declared(codec, name):
    text = DECLARED.format(name) + XML.format(NAME)
    assert (
        decode(b"\r\n \n" + text.encode(codec) if "16" not in codec else text.encode(codec)).strip() == text
    )


def test_a_declared_multibyte_encoding():
    text = DECLARED.format("Shift_JIS") + XML.format("\u5fc3\u81d3")
    assert decode(text.encode("shift_jis")) == text


@pytest.mark.parametrize(
    "name", ["UTF-16", "utf-32", "us-ascii", "cp037", "hex", "punycode", "no-such-codec"]
)
def test_a_declaration_that_the_bytes_contradict(name):
    text = DECLARED.format(name) + XML.format(NAME)
    assert decode(text.encode()) == text
    assert parse_header(decode(text.encode())).protocol_name == NAME


def test_no_module_is_imported_for_a_declared_encoding():
    loaded = set(sys.modules)
    decode(b'<?xml version="1.0" encoding="cp1006"?><h/>')
    assert set(sys.modules) == loaded


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_no_bytes_are_an_error(data):
    text = decode(data)
    text.encode()
    assert "\0" not in text


@pytest.mark.parametrize(
    ("xml", "name"),
    [
        ("\n\n  " + DECLARED.format("utf-8") + XML.format("a"), "a"),
        ("<?xml version='1.0' encoding=utf-8?>" + XML.format("a"), "a"),
        ("\ufeff" + XML.format("a") + "\x07\n\x1a", "a"),
        (XML.format("T1&T2 &amp; R&D; &#65;"), "T1&T2 & R&D; A"),
        (XML.format("a < b"), "a < b"),
        (XML.format("a\x1fb\ufffe"), "a\ufffdb\ufffd"),
        (XML.format("&#31; &#xD800; &#1114112; &#66;"), "\ufffd \ufffd \ufffd B"),
        (XML.format("&nbsp;x"), "&nbsp;x"),
        (XML.format("half \ud800"), "half ?"),
        (XML.format("a").replace("<h>", '<i:h xmlns:i="u">').replace("</h>", "</i:h>"), "a"),
    ],
)
def test_what_is_wrong_with_headers_and_can_be_read(xml, name):
    assert parse_header(xml).protocol_name == name


def test_a_number_with_a_damaged_digit_is_no_other_number():
    header = "<h><sequenceParameters><TI>2\x1f6</TI><TI>100</TI></sequenceParameters></h>"
    assert parse_header(header).inversion_times == ("2\ufffd6", "100")
    meta = parse_meta(META.format("TI", "2\x0b6").encode())
    assert meta == {"TI": ("2\ufffd6",)}


@pytest.mark.parametrize("xml", ["", "no XML", "<h>", "<h></i>", "<h/><h/>", '{"json": 1}', XML[:-5]])
def test_what_cannot_be_read_is_an_error(xml):
    with pytest.raises(ProtocolError, match="the MRD header is not readable XML"):
        parse_header(xml)


@pytest.mark.parametrize(
    "codec", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize(
    "document_type",
    ['<!DOCTYPE m [<!ENTITY a "aaaa">]>', '<!DOCTYPE m SYSTEM "file:///etc/passwd">', "<!DOCTYPE m>"],
)
def test_document_types_are_refused_in_every_encoding(document_type, codec):
    xml = DECLARED.format(codec) + document_type + META.format("n", "v")
    for damaged in ("", "&"):
        with pytest.raises(ProtocolError, match="declares a document type"):
            parse_meta(xml.replace("v</value>", f"v{damaged}</value>").encode(codec))


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF16_BE])
def test_no_entity_is_expanded(mark):
    """UTF-16 once hid the declaration: attributes of 4 MiB became 350 MB of text."""
    xml = DECLARED.format("UTF-16") + '<!DOCTYPE m [<!ENTITY a "aaaa">]>' + META.format("n", "&a;" * 100)
    with pytest.raises(ProtocolError, match="declares a document type"):
        parse_meta(mark + xml.encode("utf-16-be"))


def test_words_of_a_document_type_in_a_comment_are_none():
    assert parse_meta(b"<m><!-- <!DOCTYPE> --><meta><name>n</name><value>v</value></meta></m>") == {
        "n": ("v",)
    }


@pytest.mark.parametrize("piece", ["<a/>", "<a>", "&", "< ", "&#0;", "\x01", "<a b='c'/>", "<", "<?xml "])
def test_large_texts_end_soon(piece):
    text = "<m>" + piece * (4 * 2**20 // len(piece) - 10)
    with pytest.raises(ProtocolError):
        parse_meta(text.encode())


@pytest.mark.parametrize("piece", ["&", "< ", "&#1;", "\x01"])
def test_damage_is_mended_up_to_a_number(piece):
    assert parse_xml(f"<m>{piece * 65_536}</m>", "it").text
    with pytest.raises(ProtocolError, match="not readable XML"):
        parse_xml(f"<m>{piece * 65_537}</m>", "it")


@pytest.mark.parametrize("piece", ["&#10;", "&#x20AC;", "&amp;", "<a/>", "&#xFFFD;"])
def test_what_is_legal_does_not_count_as_damage(piece):
    whole = parse_xml(f"<m>{piece * 65_000}</m>", "it")
    damaged = parse_xml(f"<m><b>&#10;&amp;{'&#13;' * 70_000}</b>{piece * 65_000}<c>&#1; & \x01</c></m>", "it")
    assert len(damaged[0].text) == 70_002
    assert (damaged[0].tail or "") == (whole.text or "")
    assert damaged[-1].text == "\ufffd & \ufffd"


@pytest.mark.parametrize("written", ["&#{:d};", "&#{:07d};", "&#x{:x};", "&#x{:06X};"])
def test_references_are_replaced_where_xml_allows_no_such_character(written):
    def allowed(code):
        """XML 1.0, production 2."""
        return (
            code in (9, 10, 13)
            or 0x20 <= code <= 0xD7FF
            or 0xE000 <= code <= 0xFFFD
            or 0x10000 <= code <= 0x10FFFF
        )

    edges = (0, 0xD7F0, 0xDFF0, 0xFFF0, 55_290, 57_340, 65_530, 99_990, 0x10FFF0, 1_114_100, 1_114_190)
    wider = (1_114_990, 1_119_990, 1_199_990, 1_999_990, 9_999_960, 0x1FFFF0, 0x7FFFE0)
    codes = [code for edge in (*edges, *wider) for code in range(edge, edge + 36)]
    codes += range(0, 0x110000, 101)
    for some in (codes[start : start + 10_000] for start in range(0, len(codes), 10_000)):
        text = parse_xml("<m>&#0;" + "".join(written.format(code) for code in some) + "</m>", "it").text
        assert text == "\ufffd" + "".join(chr(code) if allowed(code) else "\ufffd" for code in some)


def test_limits_are_stated():
    with pytest.raises(ProtocolError, match=f"more than {ELEMENTS} elements"):
        parse_xml("<m>" + "<a/>" * ELEMENTS + "</m>", "it")
    assert len(parse_xml("<m>" + "<a/>" * (ELEMENTS - 1) + "</m>", "it")) == ELEMENTS - 1
    with pytest.raises(
        ProtocolError, match="the MRD header has 4194312 characters; at most 4194304 are read"
    ):
        parse_header("<h>" + " " * (4 * 2**20 + 1) + "</h>")


@pytest.mark.parametrize("codec", ["utf-8", "latin-1", "utf-16"])
def test_attributes_of_every_encoding(codec):
    assert parse_meta(META.format("Name", NAME).encode(codec)) == {"Name": (NAME,)}


def test_an_attribute_that_comes_twice_has_both_values():
    twice = "<m>" + META.format("a", "1")[13:-14] + META.format("a", "2")[13:-14] + "</m>"
    assert parse_meta(twice.encode()) == {"a": ("1", "2")}


@given(
    st.dictionaries(
        st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
        st.text() | st.integers() | st.floats() | st.lists(st.text(), max_size=4),
        max_size=4,
    )
)
@settings(max_examples=300)
def test_what_is_written_is_read_and_has_values(meta):
    written = format_meta(meta)
    root = ElementTree.fromstring(written)  # a strict parser
    assert all(entry.findall("value") for entry in root)
    expected = {
        name: tuple(legal(str(value)) for value in (values if isinstance(values, list) else [values]))
        for name, values in meta.items()
        if values != []
    }
    assert parse_meta(written) == expected
    if expected:
        theirs = ismrmrd.Meta.deserialize(written)
        assert set(theirs) == set(expected)


def test_an_attribute_without_values_is_left_out():
    assert b"FLAGS" not in format_meta({"FLAGS": [], "NAME": "a"})
    assert b"<meta><name>NAME</name><value></value></meta>" in format_meta({"NAME": ""})


@pytest.mark.parametrize("codec", ["latin-1", "utf-8-sig", "utf-16"])
def test_no_encoding_ends_a_connection(codec, serving, examination):
    _, header, images = examination
    named = header.replace("myostream simulated mapping", NAME)
    assert NAME in named
    with serving() as server:
        result = exchange(server.address, named.encode(codec), images)
    assert [image for image in result.images if image in images] == images
    assert len(result.images) == len(images) + 4 * 3
    (closing,) = result.texts
    assert closing.startswith("DBG")


@pytest.mark.parametrize("header", ["<ismrmrdHeader><!-- no end", "<!DOCTYPE a><ismrmrdHeader/>"])
def test_an_unreadable_header_is_reported_and_images_pass(header, serving, examination):
    _, _, images = examination
    with serving() as server:
        result = exchange(server.address, header, images)
    assert [image for image in result.images if image in images] == images
    warning, closing = result.texts
    assert warning.startswith("WRN")
    assert closing.startswith("DBG")
    assert "the MRD header" in result.texts[0]
    assert "without a header" in result.texts[0]


def test_a_header_keeps_the_bytes_that_came():
    body = (DECLARED.format("UTF-16") + XML.format(NAME)).encode("utf-16") + b"\0"
    header = Header.from_bytes(body)
    assert header.body == body
    assert parse_header(header.xml).protocol_name == NAME


@pytest.mark.parametrize(
    ("data", "stored"),
    [
        (b"", b""),
        (b"a\0\0", b"a"),
        (b"\xf6 \xff", b"\xf6 \xff"),
        ("<?xml version='1.0' encoding='UTF-16'?><m>\u00f6</m>".encode("utf-16"), "<m>\u00f6</m>".encode()),
        (b"a\0b", b"a"),
    ],
)
def test_c_strings_hold_no_nul(data, stored):
    assert without_nul(data) == stored
