"""All checks of a host, in the order in which their findings are shown."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from inline.doctor import computing, host, network
from inline.doctor.finding import Check, Finding, Verdict, guarded
from inline.doctor.node import node
from inline.settings import Settings


def check_host(settings: Settings) -> Iterator[Finding]:
    """Yield the findings about this host with these settings, the quick ones first.

    They state a node by its spool or destinations, and a server by what it alone uses, or where they state no
    node.
    """
    monitor, dicom = settings.monitor, settings.dicom
    node_stated = dicom.spool is not None or bool(dicom.destinations)
    stated = "server" in settings.model_fields_set or settings.emit.zmq or monitor.page_port is not None
    server = bool(stated) or not node_stated
    checks: list[tuple[str, Check]] = [
        ("processor", host.processor),
        ("GPU", computing.gpu),
        ("memory", partial(host.memory, settings)),
        ("clock", host.clock),
        ("cache", host.cache),
        *([("ports", partial(network.ports, settings))] if server else []),
        ("Gadgetron", network.gadgetron),
        *([("DICOM node", partial(node, settings, alone=not server))] if node_stated else []),
        ("reference ranges", partial(computing.reference_ranges, settings)),
        ("engines", partial(computing.engines, settings)),
    ]
    for part, check in checks:
        yield from guarded(part, check)


def passed(findings: list[Finding]) -> bool:
    """Return whether no finding is a problem."""
    return all(each.verdict is not Verdict.PROBLEM for each in findings)
