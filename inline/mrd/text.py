"""Text of peers: bytes of any encoding to text, and XML in it to elements.

Peers send UTF-8, Latin-1 and UTF-16, with declarations that are wrong or missing, control characters and
unescaped ampersands. All that can be read without guessing is read. A character that XML does not allow
becomes U+FFFD and is not removed, so that a damaged number is unreadable and does not become another one.
"""

from __future__ import annotations

import codecs
import re
from typing import Final, NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from inline.data.errors import ProtocolError
from model.xml import guarded_parser

CHARACTERS: Final = 4 * 2**20
ELEMENTS: Final = 65_536
"""Most characters and elements of an XML text: they bound the time that one takes to parse.

A Siemens converter may put protocols of some MiB into a header, in a few elements.
"""

_WIDE: Final = (
    (re.compile(re.escape(codecs.BOM_UTF32_LE)), "utf-32-le", 4),
    (re.compile(re.escape(codecs.BOM_UTF32_BE)), "utf-32-be", 4),
    (re.compile(re.escape(codecs.BOM_UTF16_LE)), "utf-16-le", 2),
    (re.compile(re.escape(codecs.BOM_UTF16_BE)), "utf-16-be", 2),
    (re.compile(rb"(?=[<{]\0[^\0]\0)"), "utf-16-le", 2),
    (re.compile(rb"(?=\0[<{]\0[^\0])"), "utf-16-be", 2),
)
"""Marks that the text follows, or beginnings of the text itself; encoding; bytes of a character."""
_DECLARED: Final = re.compile(rb"<\?xml[^>]{0,200}?encoding[ =]{1,8}[\"']([A-Za-z0-9._-]{1,40})")
_CODECS: Final = frozenset(
    ["us-ascii", "ascii", "latin1", "latin-1", "koi8-r", "koi8-u"]
    + ["shift_jis", "euc-jp", "iso-2022-jp", "gb2312", "gbk", "gb18030", "big5", "euc-kr"]
    + [f"iso-8859-{part}" for part in range(1, 17) if part != 12]
    + [f"windows-{page}" for page in range(1250, 1259)]
)
"""Encodings that a declaration may name. Python would import a module by the name of any other."""

_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_EDGES: Final = "".join(map(chr, range(33))) + "\ufeff\x7f"
_STRAY_AMPERSAND: Final = re.compile(
    r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)", re.ASCII
)
_STRAY_BRACKET: Final = re.compile(r"<(?![A-Za-z_:/!?\x80-\U0010ffff])")
_MOST_MENDED: Final = 65_536
"""Stray marks of a kind that are mended at most: millions would hold up other connections."""
_ILLEGAL_REFERENCE: Final = re.compile(
    r"&#(?:x0*(?:[0-8bcef]|1\w|d[89a-f]\w\w|fff[ef]|1[1-9a-f]\w{4}|[2-9a-f]\w{5})"
    r"|0*(?:[0-8]|1[124-9]|2\d|3[01]|5529[6-9]|55[3-9]\d\d|56\d{3}|57[0-2]\d\d|573[0-3]\d|5734[0-3]|6553[45]"
    r"|11141(?:1[2-9]|[2-9]\d)|1114[2-9]\d\d|111[5-9]\d{3}|11[2-9]\d{4}|1[2-9]\d{5}|[2-9]\d{6}));",
    re.ASCII | re.IGNORECASE,
)
"""Reference, of the form that is no stray ampersand, to a character that XML does not allow."""


def decode(data: bytes) -> str:
    """Return the text of ``data`` up to its first NUL character.

    The encoding is that of the byte order mark, else UTF-16 where the first characters show it, else the one
    that an XML declaration names, else UTF-8, else Latin-1. A declaration that the bytes contradict is passed
    over. No bytes are an error.
    """
    for beginning, codec, width in _WIDE:
        if found := beginning.match(data):
            # A single NUL that a sender adds leaves an incomplete character at the end.
            whole = data[found.end() : len(data) - len(data) % width]
            return whole.decode(codec, "replace").split("\0", 1)[0].removeprefix("\ufeff")
    text = data.split(b"\0", 1)[0].removeprefix(codecs.BOM_UTF8)
    declared = _DECLARED.match(text[:1024].lstrip())
    name = declared[1].decode("ascii").lower() if declared else ""
    for codec in (name if name in _CODECS else "utf-8", "utf-8"):
        try:
            return text.decode(codec)
        except UnicodeDecodeError:
            continue
    return text.decode("latin-1")


def legal(text: str) -> str:
    """Return ``text`` with U+FFFD in place of every character that XML 1.0 does not allow."""
    return _ILLEGAL.sub("\ufffd", text)


def number(text: str, bound: float) -> float | None:
    """Return the number in a text; None where there is none whose size is below ``bound``."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < bound else None


def parse_xml(text: str, what: str) -> Element:
    """Parse an XML text into elements whose tags have no namespace prefix.

    A text that is not well-formed is parsed a second time with its illegal characters replaced and with its
    stray ampersands and angle brackets escaped, up to a number.

    Args:
        text: to parse; a declaration in it is ignored, since the text is decoded already.
        what: name of the text in an error message.

    Raises:
        ProtocolError: it is too long, has too many elements, declares a document type or entities, or is not
            XML either way.
    """
    if len(text) > CHARACTERS:
        raise ProtocolError(f"{what} has {len(text)} characters; at most {CHARACTERS} are read")
    body = _without_declaration(text)
    try:
        return _parse(body, what)
    except expat.ExpatError as error:
        first = error
    try:
        return _parse(_mended(body), what)
    except expat.ExpatError:
        raise ProtocolError(f"{what} is not readable XML: {first}") from first


def without_nul(data: bytes) -> bytes:
    """Return a text without NUL bytes: as it is up to trailing ones, else in UTF-8 without a declaration.

    C strings, and so strings in HDF5 files, end at the first NUL byte.
    """
    stripped = data.rstrip(b"\0")
    if b"\0" not in stripped:
        return stripped
    return _without_declaration(decode(data)).encode("utf-8", "replace")


def _without_declaration(text: str) -> str:
    body = text.strip(_EDGES)
    if not body.startswith("<?xml"):
        return body
    end = body.find("?>", 0, 1024)
    return body if end < 0 else body[end + 2 :].strip(_EDGES)


def _mended(text: str) -> str:
    for pattern, replacement in _MENDS:
        text = pattern.sub(replacement, text, count=_MOST_MENDED)
    return text


_MENDS: Final = (
    (_ILLEGAL, "\ufffd"),
    (_STRAY_AMPERSAND, "&amp;"),
    (_STRAY_BRACKET, "&lt;"),
    (_ILLEGAL_REFERENCE, "\ufffd"),
)


def _parse(text: str, what: str) -> Element:
    builder = TreeBuilder()
    left = ELEMENTS

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ProtocolError(f"{what} has more than {ELEMENTS} elements")
        builder.start(name.rpartition(":")[2], attributes)

    def refuse() -> NoReturn:
        raise ProtocolError(f"{what} declares a document type; send it without")

    parser = guarded_parser(refuse, "utf-8")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: builder.end(name.rpartition(":")[2])
    parser.CharacterDataHandler = builder.data
    parser.Parse(text.encode("utf-8", "replace"), True)
    return builder.close()
