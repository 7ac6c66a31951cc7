"""Flags in words, and texts of senders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.data.flags import Flag
from inline.report.wording import SENTENCES, clean, importance, sentence


def test_every_flag_has_a_sentence_of_its_own():
    assert set(SENTENCES) == set(Flag)
    assert len(set(SENTENCES.values())) == len(Flag)


@pytest.mark.parametrize("text", SENTENCES.values())
def test_a_sentence_is_one_and_fits_a_line_or_two(text):
    assert text.endswith(".")
    assert text[0].isupper()
    assert len(text) < 100


def test_a_flag_of_a_later_version_is_named_and_comes_first():
    assert sentence("from-the-future") == "Flag from-the-future."
    assert importance("from-the-future") < min(map(importance, Flag))


def test_doubtful_values_come_before_what_was_done():
    assert importance("implausible-values") < importance("review") < importance("duplicate-images")


@given(st.text())
def test_a_clean_text_is_one_line_of_printable_characters(text):
    made = clean(text)
    assert made.isprintable()
    assert made == made.strip()
    assert clean(made) == made
