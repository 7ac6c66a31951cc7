"""All checks of a host, in the order in which their findings are shown."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from inline.doctor import computing, host, network
from inline.doctor.finding import Check, Finding, Verdict, guarded
from inline.settings import Settings


def check_host(settings: Settings) -> Iterator[Finding]:
    """Yield the findings about this host with these settings, the quick ones first."""
    dicom = settings.dicom
    checks: list[tuple[str, Check]] = [
        ("processor", host.processor),
        ("GPU", computing.gpu),
        ("memory", partial(host.memory, settings)),
        ("clock", host.clock),
        ("cache", host.cache),
        ("ports", partial(network.ports, settings)),
        ("Gadgetron", network.gadgetron),
        ("DICOM", partial(network.destinations, dicom.destinations, dicom.ae_title)),
        ("reference ranges", partial(computing.reference_ranges, settings)),
        ("engines", partial(computing.engines, settings)),
    ]
    for part, check in checks:
        yield from guarded(part, check)


def passed(findings: list[Finding]) -> bool:
    """Return whether no finding is a problem."""
    return all(each.verdict is not Verdict.PROBLEM for each in findings)
