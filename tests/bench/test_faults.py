"""The campaign of faults on a tiny scale, against live servers."""

import json
import signal
from io import StringIO

import pytest
from rich.console import Console

from bench import faults
from bench.attacks import Seen
from bench.faults import FAULTS, Fault
from bench.watched import Examination, Tally
from inline.replay.client import Exchange


@pytest.fixture(scope="module")
def examination():
    return Examination.simulate(1, 96)


def named(part):
    return next(fault for fault in FAULTS if part in fault.name)


def test_faults_have_names_of_their_own():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_what_holds_is_seen_to_hold(examination):
    outcome = faults.run(named("announced"), examination, scale=0.1)
    assert outcome.seen == "15 of 15 refused in a message"
    assert outcome.sent >= 4 * len(examination.images)
    assert (outcome.lost, outcome.code) == (0, 0)
    assert outcome.broken == ()
    (result,) = faults.rated([outcome])
    assert result.ratio > 0


def test_what_breaks_is_seen_to_break(examination, tmp_path):
    def kill(scene):
        scene.server.process.send_signal(signal.SIGKILL)
        scene.server.process.wait()
        return Seen("killed", False)

    outcome = faults.run(Fault("murder", "nothing", kill, beside=False), examination)
    assert outcome.code == -signal.SIGKILL
    assert outcome.lost == len(examination.images)
    assert {"the server died", "the fault's own promise", "the good client broke off"} <= set(outcome.broken)
    said = StringIO()
    faults.show(faults.rated([outcome]), tmp_path / "f.json", Console(file=said, width=200))
    assert "0 of 1 hold" in said.getvalue()
    assert json.loads((tmp_path / "f.json").read_text())["faults"][0]["code"] == -9


def test_a_client_counts_what_it_misses(examination, monkeypatch):
    def without_the_first(address, header, images, *, received, **_):
        for image in [images[2], images[1], *images[3:]]:
            received(image)
        return Exchange(first_sent=1.0, finished=3.0)

    monkeypatch.setattr("bench.watched.exchange", without_the_first)
    tally = Tally()
    tally.examine(("", 0), examination)
    assert (tally.lost, tally.results, tally.seconds) == (1, 0, [2.0])
