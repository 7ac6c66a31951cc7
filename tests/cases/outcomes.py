"""Right outcomes of a case, as assertions whose message shows everything that came back."""

import pytest

from inline.data.flags import Flag

from .phantom import Phantom

PHANTOM = Phantom()
TRUTH = {"T1": 950.0, "T2": 48.0}
"""Values of the phantom's wall, ms."""
TOLERANCE = {"T1": 3.0, "T2": 1.0}
ALARMS = {
    Flag.NON_FINITE_PIXELS,
    Flag.NO_ORIENTATION,
    Flag.CONTRADICTORY_GEOMETRY,
    Flag.UNREADABLE_TIMES,
    Flag.UNREADABLE_ATTRIBUTES,
    Flag.CONVERTED_UNIT,
    Flag.SCALED_IMAGES,
    Flag.CLIPPED_IMAGES,
    Flag.NOISY_IMAGES,
    Flag.SATURATION_RECOVERY,
    Flag.POOR_FIT,
    Flag.IMPLAUSIBLE_VALUES,
    Flag.NO_VALUES,
    Flag.EMPTY_MAP,
    Flag.DUPLICATE_IMAGES,
    Flag.EARLY_CLOSE,
    Flag.LATE,
    Flag.PROCESSING_ERROR,
}
"""Flags that say something about the sender's images; right input bears none of them.

What the network makes of the phantom (``review``, ``no-cavity`` and so on) is not the subject here.
"""


def expect(condition, what, reply):
    """Fail with what came back."""
    __tracebackhide__ = True
    if not condition:
        pytest.fail(f"{what}; what came back:\n{reply}")


def passed(reply):
    """Every image came back bit for bit, nothing else but results, and the stream was closed properly."""
    __tracebackhide__ = True
    expect(reply.lost == 0, f"{reply.lost} images were lost or changed", reply)
    expect(all(b"MYOSTREAM" in image.attributes for image in reply.added), "foreign images came back", reply)
    expect(reply.closed and not reply.broken, "the connection did not end with a close", reply)
    return reply


def right(result, reply, quantity="T1", *, wall=None, flags=(), may=(), phantom=PHANTOM):
    """One result has the right values: ``flags`` are set, no alarm beside them and ``may``."""
    __tracebackhide__ = True
    wall = TRUTH[quantity] if wall is None else wall
    expect(result.record["quantity"] == quantity, f"a {quantity} map was expected", reply)
    expect(result.record["error"] == "", "the slice was not processed", reply)
    median, tolerance = result.median(phantom.wall), TOLERANCE[quantity]
    expect(abs(median - wall) <= tolerance, f"wall {median:.1f} ms where {wall:g} is right", reply)
    if result.ring is not None:
        expect(abs(result.ring - wall) <= tolerance, f"myocardium {result.ring} ms, {wall:g} is right", reply)
    missing = {Flag(flag).value for flag in flags} - result.flags
    expect(not missing, f"flags {sorted(missing)} are missing", reply)
    wrong = (result.flags & {flag.value for flag in ALARMS}) - {Flag(flag).value for flag in (*flags, *may)}
    expect(not wrong, f"flags {sorted(wrong)} are wrong", reply)
    return result


def only_map(reply, quantity="T1", **expected):
    """There is one result, and it is right."""
    __tracebackhide__ = True
    expect(len(reply.results) == 1, f"{len(reply.results)} results where one is right", reply)
    return right(reply.results[0], reply, quantity, **expected)


def no_map(reply):
    """There is no result."""
    __tracebackhide__ = True
    expect(not reply.results, f"{len(reply.results)} results where none is right", reply)


def reported(reply, pattern):
    """No result, and a message that says why."""
    __tracebackhide__ = True
    no_map(reply)
    expect(reply.says(pattern), f"no message matches {pattern!r}", reply)


def right_or_reported(reply, pattern, quantity="T1", **expected):
    """One right map, or none and a message that says why."""
    __tracebackhide__ = True
    if reply.results:
        only_map(reply, quantity, **expected)
    else:
        reported(reply, pattern)


def never_silently_wrong(reply, quantity="T1", flags=ALARMS | {Flag.REVIEW}, **expected):
    """Every result is right or bears one of ``flags``; without a result there is a message."""
    __tracebackhide__ = True
    if not reply.results:
        expect(reply.says(r"\S"), "neither a result nor a message", reply)
    for result in reply.results:
        if not result.flags & {Flag(flag).value for flag in flags}:
            right(result, reply, quantity, **expected)
