"""Parts that all entries share: made in one place, warm, and closed at the end."""

import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import inline
from inline import engine_selection
from inline.data.errors import ConfigurationError
from inline.pipeline import Pipeline
from inline.serving.service import service
from inline.settings import load_settings
from model.engines.fallback import FallbackEngine
from tests.shapes import Raising


@pytest.fixture
def engine(ring_engine, monkeypatch):
    chain = FallbackEngine([("ring", lambda: ring_engine)])
    monkeypatch.setattr(engine_selection, "make_engine", lambda settings, **_kwargs: chain)
    return chain


def started_since(before):
    """Names of the threads that run now and did not before."""
    return {thread.name for thread in set(threading.enumerate()) - before}


def test_it_is_warm_and_leaves_no_thread_behind(engine, monkeypatch):
    warmed = []
    warm_up = Pipeline.warm_up
    monkeypatch.setattr(Pipeline, "warm_up", lambda self: warmed.append(warm_up(self)))
    before = set(threading.enumerate())
    with service(load_settings(emit={"zmq": "tcp://127.0.0.1:*"})) as made:
        assert made.engine is engine
        assert made.publisher.address.startswith("tcp://127.0.0.1:")
        assert len(warmed) == 1
        assert gc.get_freeze_count() > 0
        assert {"budget", "network 1", "publisher"} <= started_since(before)
    assert not started_since(before)
    assert gc.get_freeze_count() == 0


def test_an_address_that_is_taken_ends_a_server_and_not_a_module(engine, caplog):
    with service(load_settings(emit={"zmq": "tcp://127.0.0.1:*"})) as first:
        settings = load_settings(emit={"zmq": first.publisher.address})
        with pytest.raises(ConfigurationError, match="cannot be published"), service(settings):
            pass
        with service(settings, address_may_be_taken=True) as second:
            assert second.publisher is None
    assert "cannot be published" in caplog.text


def test_an_engine_that_answers_nothing_is_an_error_of_the_configuration(monkeypatch):
    monkeypatch.setattr(
        engine_selection, "make_engine", lambda settings, **_kwargs: FallbackEngine([("broken", Raising)])
    )
    before = set(threading.enumerate())
    with pytest.raises(ConfigurationError, match="no such kernel"), service(load_settings()):
        pass
    assert not started_since(before)


def test_nothing_else_puts_a_processor_together():
    """Server, module and pipe are one composition; benchmarks and calibration time stages of their own."""
    sources = Path(inline.__file__).parent.rglob("*.py")
    making = {file.name for file in sources if "Scheduler(" in file.read_text(encoding="utf-8")}
    assert making == {"service.py"}


def test_the_process_of_the_live_page_loads_neither_settings_nor_arrays_nor_sockets_of_zmq():
    script = (
        "import sys, inline.serving.page.__main__; "
        "print(*sorted({'numpy', 'pydantic', 'zmq'} & sys.modules.keys()))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == ""


def test_importing_the_command_line_loads_neither_torch_nor_a_session():
    script = (
        "import sys, inline.cli.commands; "
        "print('torch' in sys.modules, 'inline.serving.session' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", "False"]
