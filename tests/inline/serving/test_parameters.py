"""A client's parameters: a fixed list, checked as settings are, and never fatal."""

from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.data.errors import ProtocolError
from inline.serving.parameters import PARAMETERS, read_parameters, with_parameters
from inline.settings import Settings


@pytest.mark.parametrize(
    ("given_", "read", "value"),
    [
        ({"budget_ms": 5000}, lambda s: s.budget_ms, 5000.0),
        ({"budget_ms": " 5e3 "}, lambda s: s.budget_ms, 5000.0),
        ({"overlay": "False"}, lambda s: s.emit.overlay, False),
        ({"overlay": "true"}, lambda s: s.emit.overlay, True),
        ({"overlay": False}, lambda s: s.emit.overlay, False),
        ({"originals": "Keep-Geometry"}, lambda s: s.emit.originals, "keep-geometry"),
        ({"t1_scale": "1.0365"}, lambda s: s.mapping.t1_scale, 1.0365),
        ({"motion": "uncorrected"}, lambda s: s.assembly.motion, "uncorrected"),
        ({"haematocrit": "0.42"}, lambda s: s.ecv.haematocrit, 0.42),
        ({"Hematocrit": 0.42}, lambda s: s.ecv.haematocrit, 0.42),
        ({"HCT": 0.42}, lambda s: s.ecv.haematocrit, 0.42),
        ({"hct_percent": 42}, lambda s: s.ecv.haematocrit, 0.42),
        ({"hematocritPercent": 42}, lambda s: s.ecv.haematocrit, 0.42),
        ({"synthetic_haematocrit": "true"}, lambda s: s.ecv.synthetic, True),
        ({"uncertainty": True}, lambda s: s.emit.uncertainty, True),
    ],
)
def test_values_and_the_texts_that_consoles_send(given_, read, value):
    before = Settings()
    settings, problems = with_parameters(before, given_)
    assert problems == []
    assert read(settings) == value
    assert before == Settings()


@pytest.mark.parametrize("more", [0, 1])
def test_json_of_more_characters_than_parameters_have_is_refused(more):
    text = '{"t1_scale": 1}'.ljust(65_536 + more)
    with pytest.raises(ProtocolError, match="at most 65536") if more else nullcontext():
        assert read_parameters(text) == {"t1_scale": 1}


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"t1_scale": "3"}, "t1_scale cannot be '3'"),
        ({"t1_scale": "nan"}, "t1_scale cannot be 'nan'"),
        ({"t1_scale": float("nan")}, "t1_scale cannot be nan"),
        ({"t1_scale": True}, "t1_scale cannot be True"),
        ({"t1_scale": None}, "t1_scale cannot be None"),
        ({"t1_scale": {"factor": 1}}, "t1_scale cannot be an object"),
        ({"t1_scale": [1.0]}, "t1_scale cannot be a list"),
        ({"budget_ms": "Infinity"}, "budget_ms cannot be 'Infinity'"),
        ({"budget_ms": -1}, "budget_ms cannot be -1"),
        ({"budget_ms": 10**400}, "budget_ms cannot be 1000"),
        ({"overlay": "perhaps"}, "overlay cannot be 'perhaps'"),
        ({"originals": "../../etc/passwd"}, "originals cannot be '../../etc/passwd'"),
        ({"motion": "\x1b[31mred"}, r"motion cannot be '\x1b[31mred'"),
        ({"haematocrit": 42}, "haematocrit cannot be 42: the haematocrit is a fraction"),
        ({"haematocrit": True}, "haematocrit cannot be True"),
        ({"haematocrit": "42 %"}, "cannot be '42 %': give a number with a decimal point"),
        ({"haematocrit": "0,42"}, "cannot be '0,42': give a number with a decimal point"),
        ({"weights": "/tmp/evil"}, "no parameter is named 'weights'; there are budget_ms, overlay"),
        ({"emit.overlay": "false"}, "no parameter is named 'emit.overlay'"),
        ({"x": 1}, "uncertainty, customconfig, config"),
        ({"emit": {"zmq": "tcp://*:1"}}, "no parameter is named 'emit'"),
    ],
)
def test_what_cannot_be_used_is_named_and_changes_nothing(given_, expected):
    settings, problems = with_parameters(Settings(), given_)
    assert settings == Settings()
    assert len(problems) == 1
    assert expected in problems[0]


def test_a_bad_value_does_not_keep_the_good_ones_away():
    settings, problems = with_parameters(
        Settings(), {"t1_scale": "x", "overlay": "false", "budget_ms": 0, "more": 1, "motion": "both"}
    )
    assert (settings.emit.overlay, settings.assembly.motion) == (False, "both")
    assert len(problems) == 3


def test_messages_are_short_whatever_is_sent():
    _, problems = with_parameters(
        Settings(), {"originals": "x" * 60_000, **{f"{k}" + "y" * 100: k for k in range(5000)}}
    )
    assert len(problems) == 2
    assert max(map(len, problems)) < 700
    assert "and 4992 more" in problems[0]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*PARAMETERS, "port", "__class__"]) | st.text(max_size=20), values))
def test_nothing_that_a_client_sends_raises_or_reaches_another_setting(given_):
    settings, problems = with_parameters(Settings(), given_)
    own = {"budget_ms", "emit", "mapping", "assembly", "ecv", "contours"}
    assert settings.model_dump(exclude=own) == Settings().model_dump(exclude=own)
    assert settings.emit.zmq == ""
    assert all(problem.isprintable() for problem in problems)


@pytest.mark.parametrize("value", [42, 0, True, "0,42", [0.42], float("nan"), "42 %"])
def test_a_refused_haematocrit_leaves_none(value):
    """That of the settings would be another patient's than the one who was meant."""
    settings, problems = with_parameters(Settings(ecv={"haematocrit": 0.45}), {"haematocrit": value})
    assert len(problems) == 1
    assert settings.ecv.haematocrit is None


def test_a_name_that_is_there_twice_in_json_is_not_used():
    given_ = read_parameters('{"parameters": {"haematocrit": 0.3, "overlay": false, "haematocrit": 0.5}}')
    settings, (problem,) = with_parameters(Settings(ecv={"haematocrit": 0.45}), given_)
    assert "haematocrit cannot be a list" in problem
    assert (settings.ecv.haematocrit, settings.emit.overlay) == (None, False)
