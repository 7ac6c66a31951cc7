"""Messages that were read, and those that are refused."""

import pytest

from inline.emit.schema import read_message

from .records import made


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"quantity": "T1"},
        {"quantity": "T1", "session": "a", "text": "b"},
        {"session": "a"},
        {"session": 5, "text": "b"},
        {"session": "a", "text": b"b"},
        {"session": "a", "text": "b", "more": b"bytes"},
        {name: value for name, value in made().items() if name != "regions"},
        made(regions=[{"name": "global", "median": "950"}]),
        made(regions=[5]),
        made(t1_scale="1"),
        made(flags=[b"review"]),
        made(slice_index=None),
        made(more=float("nan")),
    ],
)
def test_messages_that_are_not_of_the_schema_are_refused_in_one_line(message):
    with pytest.raises(ValueError, match=r".") as caught:
        read_message(message)
    assert "\n" not in str(caught.value)


def test_messages_of_the_schema_are_taken():
    assert read_message(made(session="a", added=[1]))["added"] == [1]
    assert read_message({"session": "a", "text": "b", "slices": []})["slices"] == []
