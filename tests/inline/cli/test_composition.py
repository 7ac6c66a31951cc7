"""The commands where the folders of benchmarks and calibration are not installed."""

import subprocess
import sys

from inline.mrd.messages import Close, ConfigFile, Header
from inline.mrd.protocol import encode


def run(environment, *arguments):
    command = [sys.executable, "-m", "inline", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


def test_product_commands_need_neither_benchmarks_nor_calibration(hiding, examination, tmp_path):
    environment = hiding("bench", "calibration")
    text = run(environment, "--help").stdout
    assert "serve" in text
    assert not any(name in text for name in ("bench", "calibrate", "evaluate", "engines"))
    for command in (["bench", "throughput"], ["evaluate"]):
        missing = run(environment, *command)
        assert missing.returncode == 2
        assert "No such command" in missing.stderr
    _, header, images = examination
    stream = [ConfigFile("mapping"), Header(header), *images[:11], Close()]
    (tmp_path / "in").write_bytes(b"".join(map(encode, stream)))
    done = run(environment, "stream", "-i", tmp_path / "in", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert b"MYOSTREAM_RESULT" in (tmp_path / "out").read_bytes()
