"""The proposed budget follows from measured times."""

import time

import numpy as np
import pytest
from typer.testing import CliRunner

from calibration import budget
from inline.__main__ import app
from inline.data.errors import MyostreamError
from inline.pipeline import Pipeline
from inline.serving.scheduler import Scheduler
from inline.settings import Settings, load_settings
from tests.shapes import Raising, RingEngine

NETWORK_S = 0.05


class Ring(RingEngine):
    """Takes a known time for a slice."""

    def infer(self, images):
        time.sleep(NETWORK_S * len(images))
        return super().infer(images)


@pytest.fixture(scope="module")
def slices():
    return budget.simulated_slices(size=128)


def test_a_study_has_both_maps_of_each_slice(slices):
    assert [each.quantity.value for each in slices] == ["T1", "T2"] * 4


def test_every_stage_of_every_slice_is_timed(slices):
    scheduler = Scheduler(Pipeline(Ring()), 2, 600_000.0)
    alone = budget.time_stages(scheduler, slices, 6, 1, Settings())
    loaded = budget.time_stages(scheduler, slices, 12, 4, Settings())
    scheduler.close()
    assert scheduler.misses == 0
    assert {len(values) for values in alone.values()} == {6}
    assert {len(values) for values in loaded.values()} == {12}
    assert min(alone["network"]) >= NETWORK_S * 1000.0
    parts = [sum(each) for each in zip(*(v for k, v in alone.items() if k != "total"), strict=True)]
    assert (np.array(alone["total"]) >= np.array(parts) - 1.0).all()


def test_the_proposal_is_the_99th_percentile_and_a_margin():
    times = list(np.arange(1.0, 1001.0))
    assert budget.proposed_ms(times, 0.0) == 1000.0
    assert budget.proposed_ms(times, 0.5) == 1500.0
    assert budget.proposed_ms([10.0], 0.5) == 50.0


def test_half_of_the_default_proposal_is_enough_for_a_slice(monkeypatch, slices):
    """So much is left for a series that waited for its motion-corrected twin."""
    monkeypatch.setattr("inline.engine_selection.make_engine", lambda settings, **_kwargs: Ring())
    monkeypatch.setattr(budget, "simulated_slices", lambda: slices)
    figures = budget.measure(Settings(), count=4, connections=2)
    assert figures["proposed_ms"] / 2 >= figures["loaded_ms"]["total"]["p99"]


def test_a_slice_that_fails_is_no_measurement(slices):
    scheduler = Scheduler(Pipeline(Raising()), 2, 600_000.0)
    with pytest.raises(MyostreamError, match="no such kernel"):
        budget.time_stages(scheduler, slices, 4, 2, Settings())
    scheduler.close()


def test_the_command_writes_settings_that_are_accepted(monkeypatch, tmp_path, slices):
    monkeypatch.setattr("inline.engine_selection.make_engine", lambda settings, **_kwargs: Ring())
    monkeypatch.setattr(budget, "simulated_slices", lambda: slices)
    file, figures = tmp_path / "s.toml", tmp_path / "b.json"
    command = ["calibrate", "budget", "--slices", "4", "--connections", "2", "-o", str(file)]
    result = CliRunner().invoke(app, [*command, "--json", str(figures)])
    assert result.exit_code == 0, result.output
    assert "2 at once" in file.read_text()
    settings = load_settings(file)
    assert settings.budget_ms >= NETWORK_S * 1000.0
    assert settings.budget_ms % 50 == 0
    assert figures.exists()
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 1
    assert "is there already" in again.output.replace("\n", " ")


def test_the_files_are_there_when_nobody_reads_the_terminal(monkeypatch, tmp_path, slices, closed_terminal):
    monkeypatch.setattr("inline.engine_selection.make_engine", lambda settings, **_kwargs: Ring())
    monkeypatch.setattr(budget, "simulated_slices", lambda: slices)
    settings, figures = tmp_path / "s.toml", tmp_path / "b.json"
    with pytest.raises(BrokenPipeError):
        budget.show(budget.measure(Settings(), count=2, connections=1), figures, settings)
    assert settings.exists()
    assert figures.exists()
