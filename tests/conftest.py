"""Settings of hypothesis for all tests, and a terminal that nobody reads."""

import pytest
from hypothesis import settings

# An example that compiles or loads takes seconds the first time, and any does on a host with other work.
settings.register_profile("myostream", deadline=None)
settings.load_profile("myostream")


@pytest.fixture
def closed_terminal(monkeypatch):
    """Standard output as after the end of ``| head -1``."""

    def refuse(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("rich.console.Console.print", refuse)
