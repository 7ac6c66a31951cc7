"""Drawing in another process."""

import subprocess
import time

import numpy as np
import pytest

from inline.data.client_text import for_log
from inline.data.examination import Examination
from inline.report import apart
from inline.report.apart import drawn_apart
from inline.report.content import page
from inline.report.maps import report_maps
from inline.report.output import ReportError, pixels

from .examinations import make_slice


@pytest.fixture(scope="module")
def content():
    return page(report_maps(Examination((make_slice(),))))


def test_another_process_draws_the_same_page(content):
    assert np.array_equal(drawn_apart(content, timeout_s=120.0), pixels(content))


@pytest.fixture
def started(monkeypatch):
    """Processes that were started."""
    found = []

    class Noted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            found.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return found


def test_the_process_is_ended_after_its_time(content, started):
    with pytest.raises(ReportError, match=r"it took longer than 0\.01 s"):
        drawn_apart(content, timeout_s=0.01)
    assert [each.poll() is not None for each in started] == [True]


def test_the_process_is_ended_when_the_server_stops(content, started):
    asked = iter([False, True, True])
    start = time.monotonic()
    with pytest.raises(ReportError, match="the server stops"):
        drawn_apart(content, timeout_s=600.0, cancelled=lambda: next(asked))
    assert time.monotonic() - start < 60.0
    assert [each.poll() is not None for each in started] == [True]


def test_an_error_of_the_process_is_stated_but_not_logged():
    class Broken:
        def __reduce__(self):
            return apart.ReportError, ("Mustermann",)

    with pytest.raises(ReportError, match="the report was not drawn: ") as caught:
        drawn_apart(Broken(), timeout_s=120.0)
    assert "ReportError" in str(caught.value)
    assert "characters, not logged" in for_log(caught.value.message)
