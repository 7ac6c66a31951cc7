"""``myostream cohort``, as a user types it."""

import errno
import fcntl
import json
import os
import platform
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from inline.cli.commands import app
from inline.mrd.files import write_images
from inline.mrd.meta import format_meta
from inline.replay.simulate import (
    T2PREP_SERIES,
    header_xml,
    simulate_examination,
    to_images,
    write_examination,
)

pytest.importorskip("distributed")

runner = CliRunner()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    for number in range(2):
        write_examination(folder / f"{number}.h5", simulate_examination(1, seed=number + 1, size=96))
    return folder


@pytest.fixture
def here(ring_engine, monkeypatch):
    """Workers are threads of this process, with an engine that returns at once; counts the clusters."""
    import cv2
    import torch
    from distributed import Client, LocalCluster

    from inline import engine_selection
    from inline.cohort import cluster
    from inline.pipeline import Pipeline

    before, made = (torch.get_num_threads(), cv2.getNumThreads()), []

    @contextmanager
    def connected(workers, scheduler):
        made.append((workers, scheduler))
        with (
            LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as local,
            Client(local) as client,
        ):
            yield client

    monkeypatch.setattr(cluster, "connected", connected)
    monkeypatch.setattr(
        engine_selection, "build_pipeline", lambda settings, threads: Pipeline(ring_engine, settings)
    )
    yield made
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


def run(*arguments):
    result = runner.invoke(app, ["cohort", *map(str, arguments)])
    return result.exit_code, " ".join(result.output.split())


def test_a_second_run_has_nothing_left_to_do(root, here, tmp_path):
    code, output = run(root, "-o", tmp_path / "out", "--workers", 2)
    assert code == 0, output
    assert "2 examinations: 2 MRD files, 0 DICOM studies, 2 other files passed over" in output
    assert "2 examinations; 0 not complete; 0 without mapping series; 4 slices, 0 of them without" in output
    assert json.loads((tmp_path / "out" / "failures.json").read_text()) == []
    assert "Not complete:" not in output
    table = (tmp_path / "out" / "values.parquet").read_bytes()
    code, output = run(root, "-o", tmp_path / "out")
    assert code == 0, output
    assert "2 are complete, of the same files, settings and weights" in output
    assert here == [(2, "")]
    assert (tmp_path / "out" / "values.parquet").read_bytes() == table
    settings = tmp_path / "other.toml"
    settings.write_text("[regions]\ninset = 0.3\n")
    assert run(root, "-o", tmp_path / "out", "--settings", settings)[0] == 0
    assert here == [(2, ""), (None, "")]
    assert (tmp_path / "out" / "values.parquet").read_bytes() != table


def test_a_damaged_file_is_listed_and_the_exit_code_says_so(root, here, tmp_path):
    (root / "0.h5").write_bytes(b"[red]damaged")
    code, output = run(root, "-o", root / "out")
    assert code == 3
    assert "2 examinations; 1 not complete" in output
    assert "0.h5" in output
    (failure,) = json.loads((root / "out" / "failures.json").read_text())
    assert "Not complete: " in output
    assert failure["examination"] == "0.h5"
    # The other one is not processed again.
    assert "1 are complete" in run(root, "-o", root / "out")[1]


def test_a_full_disk_is_the_reason_of_a_missing_result(root, here, tmp_path, monkeypatch):
    from inline.cohort.store import Store
    from model.output import OutputError

    write = Store.write

    def full(store, examination, content):
        if examination.name == "0.h5":
            raise OutputError("0.json could not be written: No space left on device")
        write(store, examination, content)

    monkeypatch.setattr(Store, "write", full)
    assert run(root, "-o", tmp_path / "out")[0] == 3
    (failure,) = json.loads((tmp_path / "out" / "failures.json").read_text())
    assert failure["examination"] == "0.h5"
    assert failure["reason"] == "0.json could not be written: No space left on device"


def test_a_folder_without_examinations(here, tmp_path):
    (tmp_path / "root").mkdir()
    code, output = run(tmp_path / "root", "-o", tmp_path / "out")
    assert (code, here) == (1, [])
    assert "holds no examinations" in output
    assert not list((tmp_path / "out").iterdir())


def test_results_are_not_written_among_the_examinations(root, here, tmp_path):
    (tmp_path / "link").symlink_to(root)
    before = sorted(root.iterdir())
    for output in (root, tmp_path / "link"):
        code, printed = run(root, "-o", output)
        assert (code, here) == (1, [])
        assert "holds the examinations; give another folder" in printed
    assert sorted(root.iterdir()) == before


def test_images_that_made_no_map_are_counted_by_reason(root, here, tmp_path):
    """Images of T2 whose series lost its name and its times, in both examinations."""
    lost, nameless = 0, format_meta({"SequenceDescription": "TRUFI"})
    for number in range(2):
        slices = simulate_examination(1, seed=number + 1, size=96)
        images = to_images(slices)
        for place, each in enumerate(images):
            if each.header.image_series_index == T2PREP_SERIES:
                images[place], lost = replace(each, attributes=nameless), lost + 1
        header = re.sub("<TI>.*?</TI>", "", header_xml(slices))
        write_images(root / f"{number}.h5", header, images)
    code, output = run(root, "-o", tmp_path / "out")
    assert code == 0, output
    assert f"Not used: {lost} neither named as T1 or T2 mapping nor with a time" in output


def test_an_interrupt_keeps_what_is_done(root, here, tmp_path, monkeypatch):
    from inline.cohort import cluster

    def interrupted(client, left, plugin, done):
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "process_all", interrupted)
    code, output = run(root, "-o", tmp_path / "out")
    assert code == 130
    assert "The same command goes on" in output


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_interrupt_while_workers_begin_is_one_line(root, tmp_path):
    """Ctrl-C of a terminal reaches all processes; no worker prints a traceback."""
    command = [sys.executable, "-m", "inline", "cohort", root, "-o", tmp_path / "out", "--workers", "1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        lines = list(iter(process.stdout.readline, "1 worker\n"))
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(timeout=120) == 130
    assert lines
    assert not re.search("Traceback|ERROR", rest)
    assert rest.endswith("Interrupted. The same command goes on where this run ended.\n")


def test_two_runs_at_once_into_one_folder(root, here, tmp_path, monkeypatch):
    """The second run is refused while the first one is at work, and does not disturb it."""
    from inline.cohort import cluster

    process_all, second = cluster.process_all, []

    def with_another(*arguments):
        second.append(run(root, "-o", tmp_path / "out"))
        process_all(*arguments)

    monkeypatch.setattr(cluster, "process_all", with_another)
    assert run(root, "-o", tmp_path / "out")[0] == 0
    ((code, output),) = second
    assert code == 1
    assert f"process {os.getpid()} on {platform.node()}" in output
    assert len(here) == 1
    assert run(root, "-o", tmp_path / "out")[0] == 0


def test_a_run_goes_on_after_one_that_was_killed(root, here, tmp_path):
    (tmp_path / "out").mkdir()
    held = "import sys, time; from pathlib import Path; from inline.cohort.lock import locked\n"
    held += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", held, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        code, output = run(root, "-o", tmp_path / "out")
        assert code == 1
        assert f"process {process.pid} on" in output
        process.send_signal(signal.SIGKILL)
    assert run(root, "-o", tmp_path / "out")[0] == 0


def test_a_lock_of_another_host_on_cifs_is_one_that_is_held(root, here, tmp_path, monkeypatch):
    """Neither locking nor reading is allowed then."""

    def denied(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(fcntl, "flock", denied)
    monkeypatch.setattr(os, "pread", denied)
    code, output = run(root, "-o", tmp_path / "out")
    assert code == 1
    assert "another run writes to" in output
    assert "another process; wait for its end" in output


def test_a_file_system_without_locks_is_stated(root, here, tmp_path, monkeypatch):
    def unsupported(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    code, output = run(root, "-o", tmp_path / "out")
    assert code == 0
    assert "has no locks: two runs into it at once are not noticed" in output


def test_wrong_usage(root, tmp_path):
    assert run(root, "-o", tmp_path / "out", "--workers", 2, "--scheduler", "tcp://x:1")[0] == 2
    assert run(root, "-o", tmp_path / "out", "--workers", 0)[0] == 2
    assert run(root)[0] == 2
    assert run(tmp_path / "missing", "-o", tmp_path / "out")[0] in (1, 2)


def test_without_the_extra_one_line_says_what_brings_it(root, hiding, tmp_path):
    command = [sys.executable, "-m", "inline", "cohort", str(root), "-o", str(tmp_path / "out")]
    done = subprocess.run(
        command, env=hiding("distributed"), capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "distributed is not installed; it comes with myostream[cohort]" in done.stderr


@contextmanager
def started(kind, *arguments, ready):
    """A Dask process, ``scheduler`` or ``worker``; what its log says once it is ready."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield next(filter(None, (re.search(ready, line) for line in process.stderr)))
        finally:
            process.terminate()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_scheduler_and_two_workers_as_processes_of_their_own(root, tmp_path):
    """The engine of the product on a cluster that the command did not start, and does not end."""
    from distributed import Client

    loopback = ["--host", "127.0.0.1", "--no-dashboard"]
    command = [sys.executable, "-m", "inline", "cohort", str(root), "-o", str(tmp_path / "out")]
    command += ["--engine", "torch", "--scheduler"]  # without compilation
    with started("scheduler", *loopback, "--port", "0", ready=r"Scheduler at:\s+(tcp://\S+)") as scheduler:
        worker = [scheduler[1], "--nthreads", "1", *loopback]
        with started("worker", *worker, ready="Registered"), started("worker", *worker, ready="Registered"):
            done = subprocess.run([*command, scheduler[1]], capture_output=True, text=True, check=False)
            with Client(scheduler[1]) as client:
                plugins = client.run(lambda dask_worker: list(dask_worker.plugins)).values()
    assert done.returncode == 0, done.stderr
    assert "2 workers" in done.stdout
    assert len(plugins) == 2
    assert not any(name.startswith("myostream") for names in plugins for name in names)
    files = list((tmp_path / "out" / "examinations").iterdir())
    slices = [each for file in files for each in json.loads(file.read_text())["slices"]]
    assert (len(files), [bool(each["regions"]) for each in slices]) == (2, [True] * 4)
