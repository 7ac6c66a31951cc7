"""Number and noun."""

import pytest

from inline.data.plural import counted


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (2, ("image",), "2 images"),
        (1, ("study", "studies"), "1 study"),
        (2, ("study", "studies"), "2 studies"),
    ],
)
def test_a_noun_follows_its_number(number, words, expected):
    assert counted(number, *words) == expected
    assert counted(number, *words, none="no") == expected.replace("0", "no")
