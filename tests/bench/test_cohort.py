"""Cohort benchmark, on workers within this process."""

import copy
import json
from contextlib import contextmanager

import pytest

pytest.importorskip("distributed")

import cv2
import torch
from distributed import Client, LocalCluster

from bench import cohort
from inline.cohort.discover import discover
from inline.offline.mrd import read_mrd
from inline.pipeline import Pipeline
from inline.settings import load_settings
from tests.shapes import Nothing


@contextmanager
def within(workers):
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=workers, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_every_examination_has_images_of_its_own(tmp_path):
    cohort.write_cohort(tmp_path, 10)
    (first, *_, ninth, _) = discover(tmp_path).examinations
    one, other = (read_mrd(each.file, load_settings().assembly).series for each in (first, ninth))
    assert [each.quantity for each in one] == ["T1"]
    assert one[0].series.images.shape == (8, 96, 96)
    assert (one[0].series.images != other[0].series.images).mean() > 0.5


def test_the_runs_are_counted_and_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cohort, "connected", within)
    monkeypatch.setattr(cohort, "RUNS", {"one": (1, False), "two": (2, False), "again": (2, False)})
    threads = torch.get_num_threads(), cv2.getNumThreads()
    results = cohort.measure(6, build=lambda: Pipeline(Nothing()))
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])
    assert results["identical"]
    for run in results["runs"].values():
        assert (run["outcomes"], run["missing"], run["twice"], run["failures"], run["slices"]) == (
            6,
            0,
            0,
            0,
            6,
        )
        assert run["engines"] == {Nothing.name: 6}
        assert run["samples"][-1]["processed"] == 6
    assert cohort.show(results, tmp_path / "c.json", tmp_path / "c.png")
    printed = capsys.readouterr().out
    assert f"engine {Nothing.name}" in " ".join(printed.split())
    assert "the same in all runs" in printed
    assert json.loads((tmp_path / "c.json").read_text())["ratio"] == results["ratio"]
    for change in (
        lambda run: run.update(missing=1),
        lambda run: run.update(twice=1),
        lambda run: run.update(failures=1),
        lambda run: run["memory"].update(end=1.2 * run["memory"]["settled"]),
    ):
        worse = copy.deepcopy(results)
        change(worse["runs"]["two"])
        assert not cohort.show(worse, None, None)
    assert not cohort.show({**results, "identical": False}, None, None)


def test_memory_is_that_of_a_worker_that_lived_all_the_time():
    settled = {"megabytes": {"1": 100.0, "2": 100.0, "3": 100.0}}
    end = {"megabytes": {"2": 102.0, "3": 101.0, "4": 500.0}}
    assert cohort._memory(settled, end) == {"settled": 100.0, "end": 102.0}
