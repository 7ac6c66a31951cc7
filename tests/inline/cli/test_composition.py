"""The commands where the folders of benchmarks and calibration are not installed.

That the product works there: the demo in ``tests/inline/replay/test_local_server.py``.
"""

import subprocess
import sys


def run(environment, *arguments):
    command = [sys.executable, "-m", "inline", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


def test_commands_of_benchmarks_and_calibration_are_left_out(hiding):
    environment = hiding("bench", "calibration")
    text = run(environment, "--help").stdout
    assert "serve" in text
    assert not any(name in text for name in ("bench", "calibrate", "evaluate", "engines"))
    for command in (["bench", "throughput"], ["evaluate"]):
        missing = run(environment, *command)
        assert missing.returncode == 2
        assert "No such command" in missing.stderr
