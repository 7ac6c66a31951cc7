"""Log of the program: rate, content, and a standard error that nobody reads."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.data.client_text import foreign, message
from inline.data.errors import ProtocolError
from inline.mrd.messages import Close, Text
from inline.mrd.protocol import encode
from inline.serving.dialogue import Dialogue
from inline.serving.logs import (
    BoundedHandler,
    JsonFormatter,
    RateLimiter,
    SafeFormatter,
    announce,
    log_to_stderr,
)
from inline.settings import LogSettings, load_settings

PATIENT = "Mustermann"


class Listed(logging.Handler):
    """Keeps lines, or waits forever in the first one."""

    def __init__(self, *, stuck=False):
        super().__init__()
        self.lines, self.free = [], threading.Event()
        if not stuck:
            self.free.set()

    def emit(self, record):
        self.free.wait(60)
        self.lines.append(record.getMessage())


@pytest.mark.parametrize(
    ("form", "printed", "out", "logs"),
    [
        ("text", False, "begun\n", 0),
        ("json", False, "", 1),
        ("text", True, "begun\n", 0),
        ("json", True, "begun\n", 0),
    ],
)
def test_what_has_begun_is_stated_once(form, printed, out, logs, capsys, caplog):
    caplog.set_level(logging.INFO)
    announce("begun", LogSettings(format=form), printed=printed)
    assert (capsys.readouterr().out, len(caplog.records)) == (out, logs)


@pytest.fixture
def logged():
    """Log lines into a handler; returns the lines, and gives the logger."""
    logger = logging.getLogger("tests.of.the.log")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    handlers = []

    def start(target, settings=None, clock=time.monotonic):
        handler = BoundedHandler(target, settings or LogSettings(), clock)
        handlers.append(handler)
        logger.addHandler(handler)
        return logger, handler

    yield start
    for handler in handlers:
        logger.removeHandler(handler)
        handler.close()


def test_so_many_events_of_a_kind_pass_in_a_window():
    limiter = RateLimiter(3)
    assert [limiter.admit("a", now) for now in (0.0, 1.0, 2.0, 3.0, 59.0)] == [True] * 3 + [False] * 2
    assert limiter.admit("b", 59.0)
    assert list(limiter.ended(59.9)) == []
    assert list(limiter.ended(60.0)) == [("a", 2)]
    assert limiter.admit("a", 61.0)
    assert list(limiter.ended(1000.0)) == []


@given(times=st.lists(st.tuples(st.integers(0, 3), st.floats(0, 300)), max_size=200))
def test_every_event_passes_or_is_counted(times):
    limiter, passed, counted = RateLimiter(2), 0, 0
    for kind, now in sorted(times, key=lambda each: each[1]):
        counted += sum(count for _, count in limiter.ended(now))
        passed += limiter.admit(kind, now)
    assert passed + counted + sum(count for _, count in limiter.ended(1e9)) == len(times)


def test_the_number_of_kinds_is_bounded():
    limiter = RateLimiter(1)
    for number in range(20_000):
        limiter.admit(number, 0.0)
    # Beyond 4096, all are of one kind.
    assert list(limiter.ended(100.0)) == [(None, 20_000 - 4096 - 1)]


def test_a_flood_is_some_lines_and_one_with_the_number_of_the_others(logged):
    target, now = Listed(), [0.0]
    logger, handler = logged(target, LogSettings(lines_per_minute=5), clock=lambda: now[0])
    for number in range(1000):
        logger.info("%s says: %s", f"192.0.2.7:{40_000 + number}", number)  # another port each time
        logger.info("%s: %s", "192.0.2.8:5", "quiet")
        if number < 3:
            logger.info("%s says: %s", "192.0.2.8:5", number)
    now[0] = 61.0
    logger.info("later")
    handler.close()
    assert len([line for line in target.lines if "192.0.2.7:4" in line]) == 5
    assert len([line for line in target.lines if line.startswith("192.0.2.8:5 says")]) == 3
    assert "192.0.2.7: 995 more lines like '%s says: %s' within 60 s are not in the log" in target.lines
    assert target.lines[-1] == "later"


def test_a_flood_that_ends_is_counted_without_another_line(logged):
    target = Listed()
    logger, handler = logged(target, LogSettings(lines_per_minute=2))
    for _ in range(10):
        logger.info("again")
    handler.close()
    assert target.lines[:2] == ["again", "again"]
    assert len(target.lines) == 3
    assert "8 more lines" in target.lines[2]


def test_a_writer_that_is_stuck_blocks_nobody(logged):
    target = Listed(stuck=True)
    logger, handler = logged(target, LogSettings(lines_per_minute=1_000_000))
    for number in range(5000):
        logger.info("line %d", number)
    assert handler.dropped > 3000
    lost = handler.dropped
    target.free.set()
    while not handler._records.empty():
        time.sleep(0.01)
    logger.info("at last")
    handler.close()
    assert target.lines[0] == "line 0"
    assert target.lines[-2:] == [f"{lost} lines of the log were lost: nobody read it", "at last"]


@given(text=st.text(max_size=200))
def test_a_record_is_printable_and_forges_no_other(text):
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s says", (text,), None)
    first, *others = SafeFormatter(foreign_text=False).format(record).split("\n")
    assert first.isprintable()
    assert all(line.startswith("    ") and line.isprintable() for line in others)


def test_a_long_record_is_cut():
    record = logging.LogRecord("x", logging.INFO, "", 0, "x" * 300_000, None, None)
    assert len(SafeFormatter(foreign_text=False).format(record)) < 17_000


@pytest.mark.parametrize("foreign_text", [False, True])
def test_a_traceback_holds_no_text_of_a_client(foreign_text):
    def fail():
        try:
            int(PATIENT)
        except ValueError as error:
            raise KeyError(f"{PATIENT}\n\x1b[31m") from error

    try:
        fail()
    except KeyError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", None, sys.exc_info())
    text = SafeFormatter(foreign_text=foreign_text).format(record)
    assert (PATIENT in text) == foreign_text
    assert "in fail" in text
    assert "ValueError: " in text
    assert text.index("ValueError") < text.index("KeyError")
    assert "\x1b" not in text


def test_own_errors_stay_readable_in_a_traceback():
    try:
        raise ProtocolError(message("no configuration {}; use mapping", foreign(PATIENT)))
    except ProtocolError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", None, sys.exc_info())
    text = SafeFormatter(foreign_text=False).format(record)
    assert "ProtocolError: no configuration (10 characters, not logged); use mapping" in text


def test_one_line_per_event_with_time_and_level_and_loggers_as_before(capfd):
    logger = logging.getLogger("tests.of.standard.error")
    before = (logger.level, logger.propagate, list(logger.handlers))
    with log_to_stderr(LogSettings(), names=("tests.of.standard.error",)):
        logger.debug("not this")
        logger.warning("one %s", "line \ud800\u20ac")
    _, written = capfd.readouterr()
    assert written.endswith(" WARNING tests.of.standard.error one line \\ud800\u20ac\n")
    assert written.count("\n") == 1
    assert (logger.level, logger.propagate, logger.handlers) == before


def json_line(text, arguments=(), error=None, **more):
    record = logging.LogRecord("x.y", logging.WARNING, "", 0, text, arguments, error)
    record.__dict__.update(more)
    written = JsonFormatter(foreign_text=False).format(record)
    assert written.isascii()
    assert "\n" not in written
    return json.loads(written)


@given(text=st.text(max_size=200), peer=st.text(max_size=30))
def test_every_record_is_one_line_of_json(text, peer):
    found = json_line("%s says %s", (peer, text))
    assert found["message"] == f"{peer} says {text}"
    assert (found["level"], found["logger"]) == ("warning", "x.y")


@pytest.mark.parametrize(
    ("first", "peer"),
    [
        ("192.0.2.7:4711", "192.0.2.7:4711"),
        ("[::1]:4711", "[::1]:4711"),
        ("[fe80::1%br-0.7]:4711", "[fe80::1%br-0.7]:4711"),
        ("192.0.2.7:4711 #2", "192.0.2.7:4711 #2"),
        ("gadgetron", None),
        (4711, None),
    ],
)
def test_the_peer_of_a_line_is_a_field(first, peer):
    assert json_line("%s connected", (first,)).get("peer") == peer


def test_fields_of_a_record_are_fields_of_its_line():
    assert json_line("done", fields={"result": {"slice": 3}})["result"] == {"slice": 3}


def test_a_traceback_in_json_holds_no_text_of_a_client():
    try:
        int(PATIENT)
    except ValueError:
        found = json_line("failed", error=sys.exc_info())
    assert "ValueError: (" in found["traceback"]
    assert PATIENT not in json.dumps(found)


def test_notes_of_the_log_are_json_too(logged):
    target = Listed()
    logger, handler = logged(target, LogSettings(lines_per_minute=1, format="json"))
    for _ in range(3):
        logger.info("again")
    handler.close()
    lines = [json.loads(line) for line in target.lines]
    assert [line["message"] for line in lines[:1]] == ["again"]
    assert "2 more lines like 'again'" in lines[1]["message"]


@pytest.mark.filterwarnings("default")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_warnings_and_errors_of_threads_are_records_without_text_of_a_client(capfd):
    """They went to standard error as they were: no JSON, without a limit, and with what a library quotes."""

    def fail():
        raise ValueError(PATIENT)

    before = warnings.showwarning, threading.excepthook
    with log_to_stderr(load_settings(log={"format": "json"}).log):
        warnings.warn(f"value {PATIENT}", UserWarning, stacklevel=1)
        thread = threading.Thread(target=fail, name="worker")
        thread.start()
        thread.join()
    assert (warnings.showwarning, threading.excepthook) == before
    written = capfd.readouterr().err
    warned, raised = map(json.loads, written.splitlines())
    assert PATIENT not in written
    assert (warned["level"], raised["level"]) == ("warning", "error")
    assert warned["message"].startswith("UserWarning in line ")
    assert raised["message"] == "the thread worker has ended by an error"
    assert "ValueError" in raised["traceback"]


def test_lines_for_the_journal_begin_with_their_level(monkeypatch, capfd):
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    with log_to_stderr(LogSettings(format="json"), names=("tests.of.the.journal",)):
        logger = logging.getLogger("tests.of.the.journal")
        logger.error("bad")
        logger.info("good")
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith("<3>{")
    assert second.startswith("<6>{")
    assert json.loads(second[3:])["message"] == "good"


@contextmanager
def served(stderr):
    """A server process whose standard error goes somewhere, and its address; it ends with code 0."""
    command = [sys.executable, "-m", "inline", "serve", "--port", "0", "--engine", "torch"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        host, _, port = process.stdout.readline().split()[3].rpartition(":")
        yield host, int(port)
        process.terminate()
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def say(address, text, number):
    """Send a text many times, and return the last bytes of the server."""
    with socket.create_connection(address, timeout=60) as connection:
        data = encode(Text(text)) * number + encode(Close())
        threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
        last = b""
        while received := connection.recv(1 << 16):
            last = received
    return last


def test_a_flood_of_texts_is_a_small_log(capfd):
    dialogue = Dialogue(load_settings(), name="192.0.2.7:4711")
    with log_to_stderr(LogSettings(), names=("inline.serving",)):
        for _ in range(20_000):
            assert list(dialogue.receive(Text(f"hello {PATIENT}"))) == []
    lines = capfd.readouterr().err.splitlines()
    assert not [line for line in lines if PATIENT in line]
    assert sum(" says: (16 characters, not logged)" in line for line in lines) == 120
    assert len([line for line in lines if "19880 more lines like '%s says: %s'" in line]) == 1


@pytest.fixture
def unread():
    """A pipe that nobody reads and that is full, as it is after hours."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    yield writing
    os.close(reading)
    os.close(writing)


MANY_LINES = """
import logging
from inline.serving.logs import log_to_stderr
from inline.serving.signals import leave_hanging_threads
from inline.settings import LogSettings
with log_to_stderr(LogSettings()):
    for number in range(5000):
        logging.getLogger(f"inline.serving.part{number}").warning("line")
    print("done", flush=True)
leave_hanging_threads()
"""


def test_a_log_that_nobody_reads_blocks_nothing(unread):
    command = [sys.executable, "-c", MANY_LINES]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=unread, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "done\n")


@pytest.mark.slow  # by default the log alone is tested, above
def test_a_log_that_nobody_reads_blocks_no_client(unread):
    with served(unread) as address:
        for _ in range(3):
            assert say(address, "hello", 200).endswith(encode(Close()))


LEAVES_A_THREAD = """
import threading, time
from inline.serving.signals import leave_hanging_threads
from inline.serving.dialogue import Dialogue
from inline.serving.logs import log_to_stderr
from inline.settings import LogSettings, load_settings
with log_to_stderr(LogSettings()):
    threading.Thread(target=time.sleep, args=(60,), name="network 1", daemon=True).start()
    leave_hanging_threads()
"""


def test_what_is_logged_before_the_process_ends_at_once_is_written():
    ended = subprocess.run(
        [sys.executable, "-c", LEAVES_A_THREAD], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0
    assert ended.stderr.endswith(" WARNING inline.serving.signals 1 threads hang and are left: network 1\n")


@contextmanager
def closed(redirections, *arguments):
    """A process that starts without some of the descriptors 0, 1 and 2."""
    command = ["bash", "-c", f'exec "$0" "$@" {redirections}', sys.executable, *arguments]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()


def test_without_standard_error_the_log_goes_into_no_connection():
    """The first sockets of the process would take the numbers of the closed descriptors."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()
    arguments = ("-m", "inline", "serve", "--port", str(address[1]), "--engine", "torch")
    with closed("<&- >&- 2>&-", *arguments) as process:
        end = time.monotonic() + 60
        while True:
            with suppress(ConnectionRefusedError):
                opened = [socket.create_connection(address) for _ in range(4)]
                break
            assert time.monotonic() < end
            time.sleep(0.1)
        links = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)]
        assert links[2] == "/dev/null"
        assert not any("socket" in each for each in links)
        for each in opened[1:]:
            each.close()  # of each, the log has a line
        with opened[0] as connection:
            connection.sendall(encode(Close()))
            received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        assert received == encode(Close())
        process.terminate()
        assert process.wait(timeout=30) == 0


def test_a_module_of_a_chain_without_standard_error_sends_no_log():
    """Gadgetron's package connects before this program is imported."""
    with socket.create_server(("127.0.0.1", 0)) as gadgetron:
        code = (
            "import socket, sys\n"
            "connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
            "from inline.serving.logs import log_to_stderr\n"
            "from inline.settings import LogSettings\n"
            "import logging\n"
            "with log_to_stderr(LogSettings()):\n"
            "    logging.getLogger('inline').warning('a line')\n"
            "connection.sendall(b'%d' % connection.fileno())\n"
        )
        with closed("2>&-", "-c", code, str(gadgetron.getsockname()[1])) as process:
            connection = gadgetron.accept()[0]
            with connection:
                assert b"".join(iter(lambda: connection.recv(1 << 16), b"")) == b"2"
            assert process.wait(timeout=30) == 0
