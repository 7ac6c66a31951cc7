"""Checks of a DICOM node: extra, settings, spool, ports, destinations."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

from inline.addresses import host_port
from inline.data.errors import ConfigurationError
from inline.doctor.finding import Finding, good, problem, warning
from inline.doctor.network import bind_error, destinations, echo, further_ports
from inline.extras import absent, remedy
from inline.settings import DicomDestination, DicomSettings, Settings
from model.ownership import objection_to


def node(settings: Settings, *, alone: bool) -> Iterator[Finding]:
    """Yield whether a node with these settings starts, or runs already, and reaches its destinations.

    Args:
        settings: that state a node.
        alone: they state no server.
    """
    dicom, monitor = settings.dicom, settings.monitor
    if modules := absent("dicom"):
        yield problem("DICOM node", f"{modules} of the extra dicom cannot be found", remedy("dicom"))
        return
    from inline.dicom.node.node import usable_contexts
    from inline.dicom.node.spool import spool_folder
    from inline.dicom.node.store import in_use

    try:
        usable_contexts(dicom)
    except ConfigurationError as error:
        yield problem("DICOM node", str(error), "correct the section dicom of the settings")
    folder = spool_folder(dicom)
    running = in_use(folder)
    found = _spool(folder, dicom.free_bytes, running=running)
    where = "" if dicom.spool else "; dicom.spool is not set here, and the unit of a node sets its own"
    yield replace(found, text=found.text + where)
    yield _port(dicom, running=running)
    if monitor.port is not None and alone:
        named = {dicom.port: "port of DICOM"} if dicom.port else {}
        yield from further_ports([("port of metrics", monitor.host, monitor.port)], named, running=running)
    elif monitor.port:
        text = f"{host_port(monitor.host, monitor.port)} is that of the server and of the DICOM node"
        advice = "where both run here, set another for the node (MYOSTREAM_MONITOR__PORT)"
        yield warning("port of metrics", text, advice)
    yield from destinations(dicom.destinations, dicom.ae_title)


def _spool(folder: Path, free_bytes: int, *, running: bool) -> Finding:
    """Return whether the spool can be made and written, and has room. Nothing is left in its place."""
    from inline.dicom.node.store import DATABASE

    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    advice = "name a folder of this user as dicom.spool"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
        database = folder / DATABASE
        user = os.geteuid() or folder.stat().st_uid  # root examines the spool of another user
        if database.exists() and (owner := database.stat().st_uid) != user:
            text = f"{database} belongs to user number {owner}, not to {user}"
            return problem("spool", text, "give folder and files to the user of the node (chown -R)")
        reason = objection_to(folder.stat(), user)
    except OSError as error:
        return problem("spool", f"{folder} cannot be used: {error.strerror or error}", advice)
    finally:
        for each in missing:
            with suppress(OSError):
                each.rmdir()
    left = f"{free / 1e9:.1f} GB left"
    if free < free_bytes:
        text = f"{folder} has {left}, less than dicom.free_bytes: every image is refused"
        return problem("spool", text, "make room on its disk")
    if reason:
        return warning("spool", f"{folder} {reason}: it holds images of patients", "withdraw the permission")
    state = "is used by a node that runs" if running else "can be made" if missing else "can be written"
    return good("spool", f"{folder} {state}, {left}")


def _port(dicom: DicomSettings, *, running: bool) -> Finding:
    """Return whether the port is free, or taken by this node."""
    part, place = "port of DICOM", host_port(dicom.host, dicom.port)
    if not (reason := bind_error(dicom.host, dicom.port)):
        return good(part, f"{place} is free")
    if running:
        return good(part, f"{place} is taken while the node runs")
    own = DicomDestination(
        name="node", ae_title=dicom.ae_title, host=dicom.host or "127.0.0.1", port=dicom.port
    )
    if not echo(own, dicom.ae_title):
        return good(part, f"{place} is taken by {dicom.ae_title}, which returns C-ECHO")
    advice = "end the program that has it, unless it is this node, or choose another with dicom.port"
    return problem(part, f"{place} cannot be used: {reason}", advice)
