"""Commands of the server: serve, stream, keys, listen."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from inline.addresses import host_port
from inline.cli.options import (
    EngineOption,
    HaematocritOption,
    SettingsFile,
    Verbose,
    finite,
    path,
    settings_of_patient,
)
from inline.data.descriptors import raise_descriptor_limit
from inline.data.errors import MyostreamError
from inline.emit.schema import read_message
from inline.serving.configuration import Configuration
from inline.settings import load_settings
from inline.terminal.results import message_line
from inline.terminal.text import printable

_log = logging.getLogger(__name__)


def serve(
    host: Annotated[
        str | None, Option("--host", "-H", help="Address to listen on; 127.0.0.1 by default.")
    ] = None,
    port: Annotated[
        int | None, Option("--port", "-p", help="Port; 9002 by default, 0 for any free one.")
    ] = None,
    zmq: Annotated[str | None, Option(help="Publish results here, such as tcp://127.0.0.1:5560.")] = None,
    zmq_keys: Annotated[
        Path | None, Option(parser=path, help="Publish only to the clients with a key in this folder.")
    ] = None,
    insecure: Annotated[bool, Option("--insecure", help="Publish to other hosts without keys.")] = False,
    budget_ms: Annotated[
        float | None,
        Option(callback=finite, help="Time for a slice, from its last image to its result."),
    ] = None,
    engine: EngineOption = None,
    monitor_port: Annotated[
        int | None, Option(help="Port of metrics and health, on 127.0.0.1; without it, there are none.")
    ] = None,
    page_port: Annotated[
        int | None, Option(help="Port of the live page, on 127.0.0.1; without it, there is none.")
    ] = None,
    settings_file: SettingsFile = None,
    until_stdin_ends: Annotated[bool, Option("--until-stdin-ends", hidden=True)] = False,
    verbose: Verbose = False,
) -> None:
    """Serve MRD clients until SIGTERM, SIGHUP or Ctrl-C, then finish the slices in flight."""
    from inline.serving.signals import end_with_stdin, ended_by_signals, leave_hanging_threads

    with ended_by_signals() as signals:
        if until_stdin_ends:
            end_with_stdin()
        raise_descriptor_limit()
        from inline.serving.listening import check_distinct
        from inline.serving.logs import announce, log_to_stderr
        from inline.serving.server import Server, check_address
        from inline.serving.service import service
        from inline.serving.supervision import supervision

        settings = load_settings(
            settings_file,
            engine=engine,
            budget_ms=budget_ms,
            server={"host": host, "port": port},
            emit={"zmq": zmq, "zmq_keys": zmq_keys, "zmq_insecure": insecure or None},
            monitor={"port": monitor_port, "page_port": page_port},
        )
        check_distinct(settings)
        check_address(settings.server)
        with log_to_stderr(settings.log, verbose=verbose):
            if settings.ecv.haematocrit is not None:
                _log.warning("ecv.haematocrit = %g holds for every patient", settings.ecv.haematocrit)
            with (
                supervision(settings.monitor) as supervised,
                service(settings, verify_s=supervised.checkup.verify_s) as made,
            ):
                server = Server(made.scheduler, settings, made.publisher, supervised.observers)
                signals.call(server.stop)
                supervised.begin(server)
                begun = [f"listening on {host_port(*server.address)} (engine: {made.engine.name})"]
                if made.publisher is not None:
                    begun.append(f"publishing on {made.publisher.address}")
                if supervised.address is not None:
                    begun.append(f"metrics on http://{host_port(*supervised.address)}/metrics")
                if supervised.page_address is not None:
                    begun.append(f"live page on http://{host_port(*supervised.page_address)}/")
                for each in begun:
                    announce(f"myostream {each}", settings.log, printed=until_stdin_ends)
                server.serve()
                made.scheduler.close(max(server.left_s, 1.0))
                _log.info("stopped by %s", signals.came)
            leave_hanging_threads()


def stream(
    source: Annotated[
        Path | None,
        Option("--input", "-i", parser=path, help="File or named pipe to read; else standard input."),
    ] = None,
    sink: Annotated[
        Path | None,
        Option("--output", "-o", parser=path, help="File or named pipe to write; else standard output."),
    ] = None,
    config: Annotated[
        Configuration | None, Option(help="Configuration, in place of the one that the stream names.")
    ] = None,
    engine: EngineOption = None,
    haematocrit: HaematocritOption = None,
    settings_file: SettingsFile = None,
    verbose: Verbose = False,
) -> None:
    """Read an MRD stream and write it with maps, contours and values: one step of a pipe."""
    from inline.serving.logs import log_to_stderr
    from inline.serving.pipe import run
    from inline.serving.signals import leave_hanging_threads

    settings = settings_of_patient(settings_file, engine, haematocrit)
    with log_to_stderr(settings.log, verbose=verbose):
        taken = run(settings, source=source, sink=sink, configuration=config)
    leave_hanging_threads(0 if taken else 1)
    if not taken:
        raise typer.Exit(1)


def keys(
    folder: Annotated[Path, Argument(parser=path, help="Folder of keys; created where missing.")],
    client: Annotated[str, Option(help="Name of the client that may read the results.")] = "reader",
) -> None:
    """Make keys for encrypted results that only known clients can read."""
    from inline.emit.access import make_keys

    public, secret = make_keys(folder, client)
    typer.echo(f"server: myostream serve --zmq tcp://ADDRESS:PORT --zmq-keys {folder}")
    typer.echo(f"client: myostream listen tcp://ADDRESS:PORT --server-key {public} --keys {secret}")
    typer.echo(f"Move {secret} to the client's host, with a copy of {public}.")


def listen(
    address: Annotated[str, Argument(help="Address that a server publishes on.")] = "tcp://127.0.0.1:5560",
    json_lines: Annotated[bool, Option("--json", help="Print whole messages, one a line.")] = False,
    count: Annotated[int | None, Option(help="Stop after so many slices.")] = None,
    server_key: Annotated[Path | None, Option(help="Public key file of a server with keys.")] = None,
    keys_file: Annotated[
        Path | None, Option("--keys", help="Secret key file of this client, for such a server.")
    ] = None,
) -> None:
    """Print the results that a server publishes on ZeroMQ, and the summary of each connection."""
    from zmq import ZMQError

    from inline.emit.publisher import decode, subscribe

    try:
        socket = subscribe(address, server_key=server_key, keys=keys_file)
    except ZMQError as error:
        raise MyostreamError(f"{address} is no address to subscribe to: {error}") from error
    typer.echo(f"listening on {address}; Ctrl-C ends", err=True)
    seen = 0
    try:
        while count is None or seen < count:
            try:
                message = read_message(decode(socket.recv_multipart()))
            except ValueError as error:
                typer.echo(f"skipped a message: {printable(str(error))}", err=True)
                continue
            seen += "quantity" in message  # not the ECV of slices, nor the summary
            typer.echo(json.dumps(message) if json_lines else message_line(message))
    except KeyboardInterrupt:
        pass
    finally:
        socket.close(linger=0)
