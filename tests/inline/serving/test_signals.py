"""Programs that end by a signal, or with the program that started them."""

import subprocess
import sys

import pytest

HANGING = """
import threading, time
from inline.serving import signals
signals._WAIT_S = 0.3
threading.Thread(target=time.sleep, args=({seconds},), name="{name}").start()
signals.leave_hanging_threads()
print("regularly")
"""


@pytest.mark.parametrize(
    ("seconds", "name", "regularly"),
    [
        *((600, name, False) for name in ("slice_0", "network 3", "dicom worker", "dicom sender archive")),
        (0.05, "slice_0", True),
        (0.6, "other", True),
    ],
)
def test_a_thread_that_hangs_does_not_keep_the_process(seconds, name, regularly):
    done = subprocess.run(
        [sys.executable, "-c", HANGING.format(seconds=seconds, name=name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert ("regularly" in done.stdout) == regularly
    assert (f"threads hang and are left: {name}" in done.stderr) != regularly


SIGNALLED = """
import os, signal, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
from inline.serving.signals import ended_by_signals
with ended_by_signals() as signals:
    {call}
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(os.getpid(), number)
print("out", signals.came)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.1)
print("end")
"""


@pytest.mark.parametrize(
    ("call", "out"),
    [("signals.call(lambda: print('stop'))", ["stop"] * 3 + ["out SIGTERM", "end"]), ("pass", [])],
)
def test_every_signal_that_ends_a_program_is_handled(call, out):
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED.format(call=call)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, out, "")


def test_a_program_under_nohup_outlives_its_terminal():
    script = (
        "import os, signal; from inline.serving.signals import ended_by_signals\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with ended_by_signals():\n    os.kill(os.getpid(), signal.SIGHUP); print('runs')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, b"runs\n")


def test_a_process_ends_with_its_standard_input():
    script = (
        "import time; from inline.serving.signals import end_with_stdin, ended_by_signals\n"
        "with ended_by_signals():\n    end_with_stdin(); print('up', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"up\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(timeout=30) == 0
