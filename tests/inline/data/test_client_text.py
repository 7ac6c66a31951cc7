import copy
import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.data.client_text import for_log, foreign, joined, message

PATIENT = "Mustermann^Erika"


def test_a_client_reads_what_it_sent_and_the_log_does_not():
    said = message("slice {}: {}", 3, joined(", ", [message("entry {} ({})", 1, foreign(PATIENT)), "other"]))
    assert said == f"slice 3: entry 1 ({PATIENT}), other"
    assert for_log(said) == "slice 3: entry 1 ((16 characters, not logged)), other"
    assert for_log(said, foreign_text=True) == f"slice 3: entry 1 ('{PATIENT}'), other"
    assert for_log("plain {}") == "plain {}"


@given(text=st.text())
def test_what_is_quoted_is_short_and_printable(text):
    quoted = for_log(foreign(text), foreign_text=True)
    assert len(quoted) <= 80
    assert quoted.isprintable()
    assert for_log(foreign(text)) == f"({len(text)} characters, not logged)"
    assert foreign(text) == text


@pytest.mark.parametrize("made", [foreign("{x} {0} {"), message("{}: {{}}", foreign("{y}"))], ids=str)
def test_a_copy_and_what_is_packed_keep_the_text(made):
    assert for_log(copy.deepcopy(made)) == for_log(made) != str(made)
    assert json.loads(json.dumps({"error": made}))["error"] == made
    assert msgpack.unpackb(msgpack.packb([made])) == [made]


def test_an_empty_message_is_empty():
    assert for_log(joined(", ", [])) == joined(", ", []) == ""
    assert for_log(foreign("")) == "(0 characters, not logged)"
