"""Pipe: an MRD stream from one pipe, named pipe or file to another.

``docs/pipe.md`` states the peers and how errors are reported.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from inline.data.errors import ConfigurationError, MyostreamError
from inline.mrd.protocol import MessageId
from inline.serving.configuration import Configuration
from inline.serving.dialect import PIPE
from inline.serving.service import service
from inline.serving.session import Session
from inline.serving.signals import Shutdown, ending_signals
from inline.serving.transport import PipeTransport
from inline.settings import Settings

_UNHURRIED_MS: Final = 600_000.0
"""Budget of a slice where the settings state none: a program that reads a pipe waits."""
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_AROUND: Final = tuple(each.to_bytes(2, "little") for each in (MessageId.HEADER, MessageId.CLOSE))
"""First bytes of the messages around all others."""
_HDF5: Final = b"\x89HDF\r\n\x1a\n"


class StreamError(MyostreamError):
    """The input is not a whole MRD stream."""


class _Replacing(PipeTransport):
    """Pipe to a file that holds something: it is emptied when there is more to write than header and close.

    It is not renamed: the place may be a handle of another program, or in a folder that cannot be written.
    """

    def __init__(self, source: int, sink: int, begun: Callable[[], bool]) -> None:
        """Take descriptors; ``begun``: header and close are worth writing."""
        super().__init__(source, sink)
        self._begun = begun
        self._held: bytes | None = b""

    def send(self, data: bytes) -> None:
        """See :meth:`SocketTransport.send`."""
        if self._held is not None and data[:2] in _AROUND and not self._begun():
            self._held += data
            return
        if self._held is not None:
            os.ftruncate(self._sink, 0)
            data, self._held = self._held + data, None
        super().send(data)


def run(
    settings: Settings,
    *,
    source: Path | None,
    sink: Path | None,
    configuration: Configuration | None,
) -> bool:
    """Process one stream, from standard input to standard output or from file to file.

    Args:
        settings: of the program.
        source: file or named pipe to read; None for standard input.
        sink: file or named pipe to write; None for standard output.
        configuration: in place of the one that the stream requests.

    Returns:
        Whether the output was taken to its end.

    Raises:
        StreamError: the input broke off, or is no MRD; what came before has passed.
        ConfigurationError: a file cannot be opened, or the settings cannot be used.
    """
    if "budget_ms" not in settings.model_fields_set:
        settings = settings.model_copy(update={"budget_ms": _UNHURRIED_MS})
    _check(source)
    read, written = _opened(source, sink)
    transport = PipeTransport(read, written)
    place = os.fstat(written)
    if sink is not None and os.path.samestat(place, os.fstat(read)) and not stat.S_ISCHR(place.st_mode):
        raise ConfigurationError(f"{sink} would be overwritten; give another name for what comes back")
    if sink is not None and place.st_size:
        transport = _Replacing(read, written, lambda: bool(tally.images) or tally.closed)
    with service(settings, address_may_be_taken=True) as made:
        session = Session(transport, made, name="stream", dialect=PIPE, configuration=configuration)
        tally = session.tally
        with _stopped_by_signals(made.shutdown):
            session.run()
    if tally.refused:
        return False
    after = f"after {tally.images} images, which have passed"
    if tally.error:
        raise StreamError(f"the input broke off {after}: {tally.error}")
    if not tally.closed:
        stopped = made.shutdown.requested
        why = "the program was stopped" if stopped else "the input ended without a close message"
        raise StreamError(f"{why} {after}")
    return True


def _check(source: Path | None) -> None:
    """Raise an error for what cannot be read."""
    if source is not None and not source.exists():
        raise ConfigurationError(f"there is no {source} to read")
    if source is not None and source.is_dir():
        raise ConfigurationError(f"{source} is a folder and no stream")
    if source is None or source.is_file():
        _check_kind(source)


def _opened(source: Path | None, sink: Path | None) -> tuple[int, int]:
    """Return the descriptors to read and to write."""
    # Opening a named pipe waits for its other end, and its peers may open theirs in either order.
    opened: list[int | OSError] = []
    opening = threading.Thread(target=lambda: opened.append(_open_sink(sink)), daemon=True)
    opening.start()
    try:
        read = _STDIN if source is None else os.open(source, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(f"{source} cannot be read: {error.strerror}") from error
    opening.join()
    (written,) = opened
    if isinstance(written, OSError):
        name = sink or "standard output"
        raise ConfigurationError(f"{name} cannot be written: {written.strerror}") from written
    return read, written


def _check_kind(source: Path | None) -> None:
    """Raise an error for an HDF5 file, from which a stream can be made."""
    try:
        with open(source or _STDIN, "rb", closefd=source is not None) as file:
            head = os.pread(file.fileno(), len(_HDF5), 0)
    except OSError:
        return  # a pipe, or a file that cannot be opened: reported there
    if head == _HDF5:
        raise StreamError(
            f"{source or 'standard input'} is an HDF5 file and no stream; make one of it with "
            "ismrmrd_hdf5_to_stream, or use myostream replay"
        )


def _open_sink(sink: Path | None) -> int | OSError:
    # Of a program that starts without standard output, the descriptor is that of the null device.
    if sink is None and sys.__stdout__ is None:
        return OSError(errno.EBADF, os.strerror(errno.EBADF))
    try:
        if sink is not None:
            return os.open(sink, os.O_WRONLY | os.O_CREAT, 0o600)  # data of patients
        # Output that any library prints goes to standard error.
        stream = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)
        return stream
    except OSError as error:
        return error


@contextmanager
def _stopped_by_signals(shutdown: Shutdown) -> Iterator[None]:
    """Let SIGTERM, SIGINT and SIGHUP finish what is in flight; a second one ends the program."""
    numbers = ending_signals()

    def stop(*_: object) -> None:
        shutdown.request()
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)

    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
