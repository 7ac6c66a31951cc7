"""Parameters that a client may set for its own connection: a fixed list, checked as the settings are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import reduce
from operator import getitem
from typing import Final

from pydantic import ValidationError

from inline.data.client_text import Message, foreign, joined, message
from inline.data.errors import ProtocolError
from inline.settings import Settings
from model.relaxometry.ecv import HAEMATOCRIT

PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    "budget_ms": ("budget_ms",),
    "overlay": ("emit", "overlay"),
    "originals": ("emit", "originals"),
    "report": ("emit", "report"),
    "endo_offset_mm": ("contours", "endo_offset_mm"),
    "epi_offset_mm": ("contours", "epi_offset_mm"),
    "t1_scale": ("mapping", "t1_scale"),
    "motion": ("assembly", "motion"),
    "haematocrit": ("ecv", "haematocrit"),
    "haematocrit_percent": ("ecv", "haematocrit"),
    "synthetic_haematocrit": ("ecv", "synthetic"),
    "uncertainty": ("emit", "uncertainty"),
}
"""Path of each parameter in the settings. A client can set nothing else."""
CONFIGURATION_KEYS: Final = ("customconfig", "config")
"""Names beside them that state the configuration of the connection (:mod:`inline.serving.dialogue`)."""
OF_PATIENT: Final = frozenset({"haematocrit", "haematocrit_percent"})
"""Parameters of one patient: where one cannot be used, that of the settings, for all, must not stand in.
One that is sent is meant to replace that of all.
"""
_PERCENT: Final = "haematocrit_percent"
"""OpenRecon has numbers in steps of 0.1 and none that is empty: percent, and 0 for not known."""
_NAMES: Final = {name.replace("_", ""): name for name in PARAMETERS}
_PERCENT_RANGE: Final = "give {:g} to {:g} percent, or 0 where it is not known".format(
    *(100.0 * each for each in HAEMATOCRIT)
)
_CHARACTERS: Final = 1 << 16
_SHOWN: Final = 40
_LISTED: Final = 8


def read_parameters(text: str) -> dict[str, object]:
    """Return the values by name of ``{"parameters": {NAME: VALUE}}``, or of the inner object by itself.

    A name that is there twice has a list of its values, which no parameter takes.

    Raises:
        ProtocolError: it is no JSON, too long, nested too deeply, or holds no object of parameters.
    """
    if len(text) > _CHARACTERS:
        raise ProtocolError(f"JSON of {len(text)} characters is not read; send at most {_CHARACTERS}")
    try:
        content = json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise ProtocolError("the JSON text is nested too deeply; nothing was set") from error
    except ValueError as error:
        raise ProtocolError(f"the JSON text cannot be read ({error}); nothing was set") from error
    parameters = content.get("parameters", content) if isinstance(content, dict) else content
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise ProtocolError('the JSON text holds no object of parameters; send {"parameters": {NAME: VALUE}}')
    return {name: value for name, value in parameters.items() if name != "version"}


def parameter_name(spelling: str) -> str | None:
    """Return the name of a parameter in :data:`PARAMETERS`; None where there is none.

    Underscores and capitals make no difference: names on an OpenRecon console have letters and digits alone.
    "Hematocrit" and "Hct" are known too: not read, they would leave that of the settings in place of the
    patient's.
    """
    name = spelling.replace("_", "").lower().replace("hct", "hematocrit")
    return _NAMES.get(name.replace("hematocrit", "haematocrit"))


def with_parameters(settings: Settings, given: Mapping[str, object]) -> tuple[Settings, list[str]]:
    """Return the settings with a client's parameters, and one sentence for each that cannot be used.

    Args:
        settings: of the connection so far; not changed.
        given: values by name (:func:`parameter_name`), from JSON or XML attributes; texts are read as values
            (``"true"``, ``"1.0365"``).
    """
    problems: list[str] = []
    spellings: dict[str, list[object]] = {}
    unknown = []
    for spelling, value in given.items():
        if known_name := parameter_name(spelling):
            spellings.setdefault(known_name, []).append(value)
        else:
            unknown.append(spelling)
    if unknown:
        listed = joined(", ", (_shown(name) for name in unknown[:_LISTED]))
        more = f" and {len(unknown) - _LISTED} more" if len(unknown) > _LISTED else ""
        known = ", ".join((*PARAMETERS, *CONFIGURATION_KEYS))
        problems.append(message("no parameter is named {}{}; there are {}", listed, more, known))
    of_setting = Counter(PARAMETERS[name] for name, values in spellings.items() for _ in values)
    for name, (*sections, key) in PARAMETERS.items():
        if name not in spellings:
            continue
        if of_setting[PARAMETERS[name]] > 1:
            problems.append(f"parameter {name} is not used: its setting is given more than once")
            settings = _refused(settings, name)
            continue
        (value,) = spellings[name]
        section = content = settings.model_dump()
        for each in sections:
            section = section[each]
        if isinstance(value, bool) and not isinstance(section[key], bool):
            problems.append(message("parameter {} cannot be {}: it is no switch", name, _shown(value)))
            settings = _refused(settings, name)
            continue
        section[key] = value.strip().lower() if isinstance(value, str) else value
        if name == _PERCENT:
            section[key] = _fraction(value)
        try:
            settings = Settings.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            why = first["msg"].removeprefix("Value error, ")
            if name == _PERCENT:
                why = _PERCENT_RANGE
            elif name in OF_PATIENT and first["type"] == "float_parsing":
                why = "give a number with a decimal point and no sign of percent, such as 0.42 for 42 %"
            problems.append(message("parameter {} cannot be {}: {}", name, _shown(value), why))
            settings = _refused(settings, name)
    return settings, problems


def own_parameters(settings: Settings) -> dict[str, object]:
    """Return the parameters, but for those of a patient, whose settings are not the defaults: name, value."""
    usual, own = _values(Settings()), _values(settings)
    return {name: value for name, value in own.items() if name not in OF_PATIENT and value != usual[name]}


def overridden(own: Settings, settings: Settings, names: Iterable[str]) -> list[str]:
    """Return one sentence for each parameter of a client that replaces what the site has set.

    Args:
        own: settings of the program; those that are not the defaults count as set by the site.
        settings: of the connection, with the parameters.
        names: of the parameters, as in :data:`PARAMETERS`.
    """
    site, now = own_parameters(own), _values(settings)
    return [
        f"parameter {name} {_plain(now[name])} replaces {'.'.join(PARAMETERS[name])} = {_plain(site[name])}, "
        "which is set on this server"
        for name in names
        if name in site and now[name] != site[name]
    ]


def with_haematocrit(settings: Settings, haematocrit: float | None) -> Settings:
    """Return the settings with a haematocrit."""
    return settings.model_copy(update={"ecv": settings.ecv.model_copy(update={"haematocrit": haematocrit})})


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object of JSON; of a name that is there twice, all its values."""
    values: dict[str, list[object]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def _values(settings: Settings) -> dict[str, object]:
    content = settings.model_dump()
    return {name: reduce(getitem, path, content) for name, path in PARAMETERS.items()}


def _plain(value: object) -> str:
    """Return a validated value as settings files have it, without quotation marks."""
    return f"{value:.12g}" if isinstance(value, float) else str(value).lower()


def _refused(settings: Settings, name: str) -> Settings:
    return with_haematocrit(settings, None) if name in OF_PATIENT else settings


def _fraction(percent: object) -> object:
    """Return a haematocrit in percent as a fraction, None for 0; no number stays as it is and is refused."""
    if not isinstance(percent, str | int | float):
        return percent
    try:
        number = float(percent)
    except (ValueError, OverflowError):
        return percent
    return round(number / 100.0, 6) if number else None


def _shown(value: object) -> Message:
    """Return the value of a client for a message: quoted, without control characters, and short."""
    if isinstance(value, dict | list):
        return message("an object" if isinstance(value, dict) else "a list")
    text = repr(value)
    return foreign(str(value), shown=text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
