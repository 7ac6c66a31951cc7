"""Application entity of DICOM whose time limits do not depend on the clock of the host."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

from pynetdicom import AE


def application_entity(title: str) -> AE:
    """Return an application entity of pynetdicom, whose timers count monotonic time from then on.

    pynetdicom 3.0 measures its time limits with the clock of the host: set forward by more than one of them,
    it ends every association, and set back it suspends them all.
    """
    timer = sys.modules.get("pynetdicom.timer")
    if getattr(timer, "time", None) is time:
        timer.time = SimpleNamespace(**{**vars(time), "time": time.monotonic})  # type: ignore[union-attr]
    return AE(title)
