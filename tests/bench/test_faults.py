"""Campaign of faults on a small scale, against live servers."""

import json
import signal

import pytest

from bench import faults
from bench.attacks import Observation
from bench.faults import FAULTS, Fault
from bench.watched import ClientTally, Measurement
from inline.replay.client import Exchange


@pytest.fixture(scope="module")
def measurement():
    return Measurement.simulate(1, 96)


def named(part):
    return next(fault for fault in FAULTS if part in fault.name)


def test_faults_have_names_of_their_own():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.slow
def test_what_holds_is_seen_to_hold(measurement):
    outcome = faults.run(named("announced"), measurement, scale=0.1)
    assert outcome["seen"] == "15 of 15 refused in a message"
    assert outcome["sent"] >= 4 * len(measurement.images)
    assert (outcome["lost"], outcome["code"]) == (0, 0)
    assert outcome["broken"] == []
    (result,) = faults.with_ratios([outcome])
    assert result["ratio"] > 0


@pytest.mark.slow
def test_what_breaks_is_seen_to_break(measurement, tmp_path, capsys):
    def kill(target):
        target.server.process.send_signal(signal.SIGKILL)
        target.server.process.wait()
        return Observation("killed", False)

    outcome = faults.run(Fault("murder", "nothing", kill, beside=False), measurement)
    assert outcome["code"] == -signal.SIGKILL
    assert outcome["lost"] == len(measurement.images)
    assert {"the server died", "the fault's own promise", "the good client broke off"} <= set(
        outcome["broken"]
    )
    faults.show(faults.with_ratios([outcome]), tmp_path / "f.json")
    assert "0 of 1 hold" in capsys.readouterr().out
    assert json.loads((tmp_path / "f.json").read_text())["faults"][0]["code"] == -9


def test_durations_are_compared_with_those_before_all_attacks_and_recorded_as_percentiles():
    outcomes = [
        {"before_s": [1.0] * 50, "during_s": [1.5] * 9, "slower": 2.0, "broken": []},
        {"before_s": [2.0] * 50, "during_s": [1.0, 5.0, 9.0], "slower": 2.0, "broken": ["memory"]},
        {"before_s": [], "during_s": [], "slower": 1.2, "broken": []},
    ]
    one, other, none = faults.with_ratios(outcomes)
    assert (one["ratio"], one["broken"]) == (0.75, [])
    assert one["during_s"] == {"p50": 1.5, "p95": 1.5, "p99": 1.5, "max": 1.5}
    assert one["before_s"]["p99"] == 1.0
    assert (other["before_s"]["p50"], other["during_s"]["p50"], other["during_s"]["max"]) == (2.0, 5.0, 9.0)
    assert other["broken"] == ["memory", "others slowed down"]
    assert (none["ratio"], none["before_s"], none["during_s"]) == (None, {}, {})


def test_a_client_counts_what_it_misses(measurement, monkeypatch):
    def without_the_first(address, header, images, *, received, **_):
        for image in [images[2], images[1], *images[3:]]:
            received(image)
        return Exchange(first_sent=1.0, finished=3.0)

    monkeypatch.setattr("bench.watched.exchange", without_the_first)
    tally = ClientTally()
    tally.send(("", 0), measurement)
    assert (tally.lost, tally.results, tally.seconds) == (1, 0, [2.0])
