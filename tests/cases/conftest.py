"""One server process for all cases, started as a user starts it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from .outcomes import passed
from .wire import Conversation, configuration_file, header_xml, text_message

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
}
"""Of started processes: they run the code beside these tests, whatever is installed."""
_READY = re.compile(r"listening on \S+:(\d+)")


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is slow
def pytest_collection_modifyitems(items):
    """Mark four of five conditions of each test as slow: the first, sixth, eleventh ... run by default."""
    seen = Counter()
    for item in items:
        if item.path.parent == ROOT / "tests" / "cases" and hasattr(item, "callspec"):
            test = (item.path, item.originalname)
            if seen[test] % 5:
                item.add_marker(pytest.mark.slow)
            seen[test] += 1


class RunningServer:
    """A ``myostream serve`` process."""

    def __init__(self, log):
        self._log = log
        command = [sys.executable, "-m", "inline", "serve", "--port", "0", "--budget-ms", "600000"]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env=ENVIRONMENT
            )
        end = time.monotonic() + 240
        while not (found := _READY.search(self.log)):
            if self._process.poll() is not None or time.monotonic() > end:
                self._process.kill()
                pytest.fail(f"the server did not start:\n{self.log[-3000:]}")
            time.sleep(0.1)
        self.port = int(found[1])

    @property
    def log(self):
        return self.log_from(0)

    @property
    def log_size(self):
        return self._log.stat().st_size

    def log_from(self, start):
        """The log from a byte on."""
        with self._log.open("rb") as file:
            file.seek(start)
            return file.read().decode("utf-8", "replace")

    def stop(self):
        """End the server; returns its exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def connect(self, header=None, *, configuration=None):
        """A connection that has sent configuration and header (XML text, or bytes as they are)."""
        conversation = Conversation.to(self.port)
        conversation.send(configuration_file() if configuration is None else configuration)
        conversation.send(text_message(3, header_xml() if header is None else header))
        return conversation

    def exchange(self, images, header=None, *, configuration=None, extra=()):
        """Stream images (after the messages ``extra``) and return the reply, whose originals are checked."""
        __tracebackhide__ = True
        conversation = self.connect(header, configuration=configuration)
        conversation.send(*extra, *images)
        return passed(conversation.finish())


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    running = RunningServer(tmp_path_factory.mktemp("server") / "log")
    yield running
    code = running.stop()
    assert "Traceback" not in running.log
    assert code == 0, f"the server ended with code {code}:\n{running.log[-2000:]}"


@pytest.fixture(autouse=True)
def no_traceback(request):
    """Whatever was sent, the server's log shows no traceback."""
    if "server" not in request.fixturenames:
        yield
        return
    server = request.getfixturevalue("server")
    before = server.log_size
    yield
    log = server.log_from(before)
    assert "Traceback" not in log, f"the server's log shows a traceback:\n{log[-6000:]}"
