import os
import subprocess
import sys

import pytest

from model.processes import fresh_processes


def test_a_fresh_process_imports_nothing_from_the_current_folder(tmp_path, monkeypatch):
    for name in ("model.py", "pickle.py", "socket.py"):
        (tmp_path / name).write_text("raise SystemExit('imported from the current folder')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    with fresh_processes(1) as pool:
        assert pool.submit(os.getpid).result(timeout=60) != os.getpid()


@pytest.mark.parametrize(("length", "code"), [(60, 1), (1, 0)])
def test_a_process_ends_that_hangs_in_a_block(length, code):
    """In one call that holds the interpreter's lock, as a loop of C code does: 2 ** 60 steps of a search."""
    program = f"""
import re, time
from model.processes import ended_after
with ended_after(0.5):
    re.match("(a+)+$", "a" * {length} + "b")
time.sleep(1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert done.returncode == code
    assert (b"Timeout" in done.stderr) == bool(code)
