"""Programs that start without standard input, output or error."""

import subprocess
import sys

import pytest

CODE = """
import os, socket
from inline.data.descriptors import hold_standard_descriptors
hold_standard_descriptors()
assert socket.socket().fileno() > 2
closed = [os.path.samefile(f"/proc/self/fd/{number}", os.devnull) for number in range(3)]
assert not closed[0] or os.read(0, 1) == b""
assert not any(closed[number] and os.write(number, b"text") != 4 for number in (1, 2))
raise SystemExit(10 + sum(closed))
"""


@pytest.mark.parametrize(
    ("redirections", "held"), [("", 0), ("2>&-", 1), (">&- 2>&-", 2), ("<&- >&- 2>&-", 3)]
)
def test_each_closed_descriptor_is_held(redirections, held):
    command = ["bash", "-c", f'exec "$0" -c "$1" {redirections}', sys.executable, CODE]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as made:
        assert made.wait(timeout=60) == 10 + held


RAISED = """
import resource
from inline.data.descriptors import raise_descriptor_limit
raise_descriptor_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("limits", "raised"),
    [("-Sn 1024; ulimit -Hn 10000", "8192 10000"), ("-n 4096", "4096 4096"), ("-n 10000", "10000 10000")],
)
def test_a_server_may_open_as_many_files_as_the_system_grants(limits, raised):
    command = ["bash", "-c", f'ulimit {limits}; exec "$0" -c "$1"', sys.executable, RAISED]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip() == raised
