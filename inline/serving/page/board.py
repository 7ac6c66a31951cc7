"""Board of the live page: the last results and the state of the service, bounded in number and bytes."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

MOST_STUDIES: Final = 8
MOST_RESULTS: Final = 256
MOST_BYTES: Final = 64 << 20
MOST_CLOSED: Final = 16


@dataclass(frozen=True, slots=True)
class _Kept:
    study: int
    event: bytes
    images: Mapping[str, bytes]

    @property
    def size(self) -> int:
        return len(self.event) + sum(map(len, self.images.values()))


class Board:
    """Last results, oldest first; what is beyond a limit goes with all that is older. One thread at a time.

    Attributes:
        results: most that are kept; likewise ``studies`` and ``size`` (bytes).
    """

    def __init__(
        self, *, results: int = MOST_RESULTS, studies: int = MOST_STUDIES, size: int = MOST_BYTES
    ) -> None:
        self.results, self.studies, self.size = results, studies, size
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._bytes = 0
        self._status = b""
        self._closed: list[bytes] = []

    def add(self, message: Mapping[str, Any]) -> bytes:
        """Keep a message, and return its event for the browsers, with what they are to forget."""
        event = dict(message["event"])
        if event["kind"] == "status":
            self._status = _encoded(event)
            return self._status
        if event["kind"] == "closed":
            self._closed = [*self._closed, _encoded(event)][-MOST_CLOSED:]
            return self._closed[-1]
        if event["kind"] == "levels":
            for change in event["slices"]:
                self._change(change)
            return _encoded(event)
        for replaced in event["replaces"]:
            self._forget(replaced)
        kept = _Kept(event["study"], _encoded(event), message["images"])
        self._kept[event["number"]] = kept
        self._bytes += kept.size
        while self._too_much():
            self._forget(next(iter(self._kept)))
        event["oldest"] = next(iter(self._kept))
        return _encoded(event)

    def snapshot(self) -> list[bytes]:
        """Return the events that bring a new browser up to date."""
        status = [self._status] if self._status else []
        return [*status, *self._closed, *(kept.event for kept in self._kept.values())]

    def image(self, number: int, name: str) -> bytes | None:
        """Return an image of a result; None where it is not kept."""
        kept = self._kept.get(number)
        return None if kept is None else kept.images.get(name)

    def _change(self, change: Mapping[str, Any]) -> None:
        """Put the new fields of a result into its event, where it is kept."""
        kept = self._kept.get(change["number"])
        if kept is not None:
            changed = replace(kept, event=_encoded({**json.loads(kept.event), **change}))
            self._kept[change["number"]] = changed
            self._bytes += changed.size - kept.size

    def _too_much(self) -> bool:
        """Return whether a limit is exceeded; the last result stays in any case."""
        studies = len({kept.study for kept in self._kept.values()})
        beyond = len(self._kept) > self.results or studies > self.studies or self._bytes > self.size
        return beyond and len(self._kept) > 1

    def _forget(self, number: int) -> None:
        kept = self._kept.pop(number, None)
        self._bytes -= kept.size if kept is not None else 0


def _encoded(event: Mapping[str, Any]) -> bytes:
    """Return an event as JSON in one line; lone surrogates are escaped, as all that is not ASCII."""
    return json.dumps(event, allow_nan=False).encode("ascii")
