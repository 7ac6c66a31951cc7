"""The one guard of XML from outside."""

from xml.parsers import expat

import pytest

from model.xml import guarded_parser


class RefusedError(Exception):
    pass


def refuse():
    raise RefusedError


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        '<!DOCTYPE a SYSTEM "file:///etc/hostname"><a/>',
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1/x"> %p;]><a/>',
        "<!DOCTYPE a><a/>",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_document_types_are_refused_before_the_document(text, encoding):
    seen = []
    parser = guarded_parser(refuse)
    parser.StartElementHandler = lambda name, _: seen.append(name)
    with pytest.raises(RefusedError):
        parser.Parse(text.encode(encoding), True)
    assert seen == []


def test_a_document_without_one_is_parsed():
    seen = []
    parser = guarded_parser(refuse, "utf-8")
    parser.StartElementHandler = lambda name, attributes: seen.append((name, attributes))
    parser.Parse(b'<?xml version="1.0" encoding="latin-1"?><a b="&lt;&#233;"/>', True)
    assert seen == [("a", {"b": "<é"})]
    with pytest.raises(expat.ExpatError):
        guarded_parser(refuse).Parse(b"<a>", True)
