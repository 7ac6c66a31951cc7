import hashlib
import json
import os
import unicodedata
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluation.cases import CaseError
from model.training.split import (
    Part,
    earlier_starts,
    own_start,
    part_of,
    seen_in_training,
    seen_note,
    split,
)


@given(st.sets(st.text(min_size=1), max_size=30), st.sets(st.text(min_size=1), max_size=30))
def test_adding_cases_moves_none(some, more):
    before, after = split(some), split(some | more)
    for part in Part:
        assert set(before[part]) <= set(after[part])
    assert sum(len(cases) for cases in after.values()) == len(
        {unicodedata.normalize("NFC", each) for each in some | more}
    )


def test_the_shares_are_those_of_the_study():
    parts = split(f"case-{number:04d}" for number in range(5000))
    for part, share in ((Part.TRAIN, 0.65), (Part.VALIDATION, 0.20), (Part.TEST, 0.15)):
        assert abs(len(parts[part]) / 5000 - share) < 0.02


def test_the_split_is_fixed():
    """These names have always fallen so; a change would mix test cases into training."""
    names = ("case-001", "case-002", "case-003", "case-014", "case-015")
    assert [part_of(name).value for name in names] == ["test", "train", "train", "validation", "test"]


@given(st.text(alphabet=st.characters(max_codepoint=127), min_size=1))
def test_ascii_names_keep_their_part(name):
    place = int.from_bytes(hashlib.sha256(name.encode("ascii")).digest()[:8], "big") / 2**64
    assert part_of(name) == ("train" if place < 0.65 else "validation" if place < 0.85 else "test")


@pytest.mark.parametrize("name", ["Müller", "Jörg", "Zoë", "José", "Ångström", "Čapek", "Núñez", "Léa"])
def test_composed_and_decomposed_letters_are_one_name(name, tmp_path):
    composed, decomposed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert part_of(composed) == part_of(decomposed)
    weights = run(tmp_path, train=[decomposed])
    assert seen_in_training([composed, decomposed], weights) == {
        "cases": 1,
        "missing": 0,
        "train": 1,
        "validation": 0,
    }
    assert list(chain(*split([composed, decomposed]).values())) == [composed]


def test_names_that_are_no_utf_8_have_a_part():
    """As Python reads the bytes of a file's name in Latin-1: Müller."""
    name = os.fsdecode(b"M\xfcller")
    assert part_of(name) in Part
    assert part_of(name) == part_of(os.fsdecode(b"M\xfcller"))
    assert split([name, "a"])[part_of(name)]


def run(folder, start=None, **parts):
    """Folder of a run as training leaves it; returns its weights."""
    (folder / "weights").mkdir(parents=True)
    if parts:
        (folder / "split.json").write_text(json.dumps({"train": [], "validation": [], "test": [], **parts}))
    (folder / "training.json").write_text(json.dumps({"start": start and str(start)}))
    return folder / "weights"


def test_cases_of_the_training_of_weights_are_counted(tmp_path):
    weights = run(tmp_path / "site", train=["a", "b", "c"], validation=["d"], test=["e"])
    counts = seen_in_training(["a", "a", "b", "d", "e", "new"], weights)
    assert counts == {"cases": 5, "missing": 0, "train": 2, "validation": 1}
    assert seen_note(counts)[0].startswith("2 of 5 cases were trained on, and 1 ")
    assert seen_in_training(["a"], run(tmp_path / "other")) is None
    assert seen_note(None) == []


def test_cases_of_the_run_that_a_training_started_from_count(tmp_path):
    first = run(tmp_path / "first", train=["a"], validation=["b"])
    second = run(tmp_path / "second", first, train=["c"])
    assert seen_in_training("abcd", second) == {"cases": 4, "missing": 0, "train": 2, "validation": 1}
    synthetic = tmp_path / "synthetic"
    (synthetic / "weights").mkdir(parents=True)
    (synthetic / "training.json").write_text(json.dumps({"training": {"start": str(second)}}))
    assert seen_in_training("abcd", synthetic / "weights") == {
        "cases": 4,
        "missing": 0,
        "train": 2,
        "validation": 1,
    }
    (tmp_path / "second" / "training.json").write_text(json.dumps({"start": str(tmp_path / "moved")}))
    counts = seen_in_training("abcd", second)
    assert counts == {"cases": 4, "missing": 1, "train": 1, "validation": 0}
    assert seen_note(counts)[1].startswith("The weights that the training started from are not there")
    run_again = json.dumps({"start": str(first)})
    (tmp_path / "second" / "training.json").write_text(run_again)
    (tmp_path / "first" / "training.json").write_text(json.dumps({"start": str(second)}))
    assert seen_in_training("abcd", second) == {"cases": 4, "missing": 0, "train": 2, "validation": 1}


def test_cases_of_runs_before_a_restart_from_the_own_weights_count(tmp_path):
    first = run(tmp_path / "first", train=["a"])
    own = run(tmp_path / "again", first)
    assert own_start(own.parent, own)
    assert not own_start(own.parent, first)
    assert not own_start(own.parent, None)
    stated = {"start": str(own), "earlier_starts": earlier_starts(own.parent)}
    (own.parent / "training.json").write_text(json.dumps({"training": stated}))
    assert earlier_starts(own.parent) == [str(own), str(first)]
    assert seen_in_training("ab", own) == {"cases": 2, "missing": 0, "train": 1, "validation": 0}
    (tmp_path / "first").rename(tmp_path / "moved")
    (own.parent / "split.json").write_text(json.dumps({"train": ["b"], "validation": [], "test": []}))
    assert seen_in_training("ab", own) == {"cases": 2, "missing": 1, "train": 1, "validation": 0}


@pytest.mark.parametrize("content", ["[1]", "{", '{"train": ["a"], "test": []}'])
def test_a_file_that_is_no_split_is_named(tmp_path, content):
    weights = run(tmp_path)
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(CaseError, match=r"split\.json"):
        seen_in_training("a", weights)
