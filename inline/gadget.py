"""The pipeline as an external language module of a Gadgetron chain.

Two ways in, both with the chain files of ``inline/chains``:

- ``<execute name="inline.gadget" target="mapping" type="python"/>``: Gadgetron starts
  ``python -m gadgetron PORT inline.gadget mapping``, and that package calls :func:`mapping`;
- ``<connect port="9002"/>``: Gadgetron connects to a running ``myostream serve``.

The messages are read and written by myostream's own protocol code, not by the ``gadgetron`` package, for the
reasons in ``docs/gadgetron.md``; nothing here imports it, and ``python -m inline.gadget PORT`` does without.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any

from inline.engines import make_engine
from inline.errors import MyostreamError
from inline.mrd.messages import ConfigText, Header
from inline.mrd.protocol import encode
from inline.pipeline import Pipeline
from inline.processor import Processor
from inline.session import Session
from inline.settings import Settings, load_settings


def mapping(connection: Any) -> None:
    """Serve a chain through the ``gadgetron`` package's connection.

    Args:
        connection: ``gadgetron.external.Connection``. It has read configuration and header; their bytes are
            put before the rest of the stream. It sends the close message itself.
    """
    before = encode(ConfigText(_text(connection.raw_bytes.config))) + encode(
        Header(_text(connection.raw_bytes.header))
    )
    _serve(connection.socket.socket, before, owned=False)


def main(arguments: list[str] | None = None) -> int:
    """Connect to the Gadgetron that listens on a port of this host, and serve its chain."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given or not given[0].isdigit():
        print("usage: python -m inline.gadget PORT", file=sys.stderr)
        return 2
    try:
        connection = socket.create_connection(("localhost", int(given[0])), timeout=30)
        _serve(connection, b"", owned=True)
    except (OSError, MyostreamError) as error:
        print(f"myostream: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(connection: socket.socket, before: bytes, *, owned: bool) -> None:
    settings = _settings()
    pipeline = Pipeline.of(make_engine(settings), settings)
    processor = Processor(pipeline, settings.workers, settings.budget_ms)
    try:
        Session(connection, processor, settings, name="gadgetron", owned=owned).run(before)
    finally:
        processor.close()


def _settings() -> Settings:
    """Settings of the file that the environment names; Gadgetron passes no options on."""
    file = os.environ.get("MYOSTREAM_SETTINGS")
    return load_settings(Path(file) if file else None)


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data.split(b"\0", 1)[0].decode()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    raise SystemExit(main())
