"""Dialect of a peer, by its first bytes."""

import pytest

from inline.mrd.messages import Close, ConfigFile, ConfigText, Header, Text
from inline.mrd.protocol import encode
from inline.serving.dialect import takes_texts


@pytest.mark.parametrize(
    ("opening", "texts"),
    [
        (encode(ConfigFile("mapping")), True),
        (encode(Text("{}")), True),
        (encode(ConfigText('{"parameters": {}}')), True),
        (encode(ConfigText("mapping")), True),
        (encode(ConfigText("<configuration/>")), False),
        (encode(Header("<ismrmrdHeader/>")), False),
        (encode(Close()), False),
        (b"GET / HTTP/1.1", False),
        (b"", None),
        (b"\x01", None),
        (encode(ConfigText("{}"))[:6], None),
        (b"\x01\x00", True),
    ],
)
def test_only_who_surely_takes_texts_is_sent_one(opening, texts):
    assert takes_texts(opening[:8]) is texts
