"""Fixtures of the stream: an engine that returns at once, simulated examinations, hidden modules."""

import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import inline
from inline.pipeline import Pipeline
from inline.replay.simulate import header_xml, simulate_examination, to_images
from inline.serving.scheduler import Scheduler
from inline.serving.server import Server
from inline.settings import load_settings
from tests.shapes import RingEngine


def wait_until(condition, timeout=30):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="session")
def ring_engine():
    return RingEngine()


@pytest.fixture(scope="session")
def examination():
    slices = simulate_examination(2, seed=5, size=128)
    return slices, header_xml(slices), to_images(slices)


@pytest.fixture(scope="session")
def serving():
    """A context manager: a server with an engine and settings, in this process."""

    @contextmanager
    def run(engine=None, publisher=None, observers=None, reviewer=None, **settings):
        # A busy machine must not make slices late where lateness is not what is tested.
        made = load_settings(**{"server": {"port": 0}, **settings}).model_copy(update={"budget_ms": 60_000.0})
        pipeline = Pipeline(engine or RingEngine(), made, reviewer=reviewer)
        scheduler = Scheduler(pipeline, made.workers, made.budget_ms)
        server = Server(scheduler, made, publisher, observers)
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join(timeout=30)
            scheduler.close()
            assert not thread.is_alive()

    return run


HIDE = """
import sys

HIDDEN = {modules!r}


class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)


sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""


@pytest.fixture
def hiding(tmp_path_factory):
    """Environment of a process, and of those that it starts, that finds none of some modules."""

    def environment(*modules):
        folder = tmp_path_factory.mktemp("hiding")
        (folder / "sitecustomize.py").write_text(HIDE.format(modules=set(modules)))
        root = Path(inline.__path__[0]).parent
        path = os.pathsep.join(filter(None, [str(folder), str(root), os.environ.get("PYTHONPATH")]))
        return {**os.environ, "PYTHONPATH": path}

    return environment
