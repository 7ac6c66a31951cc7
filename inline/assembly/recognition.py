"""Recognition of mapping images by their names: data roles, image types, descriptions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from inline.data.client_text import foreign, message
from inline.data.series import Quantity

_LONGEST: Final = 1024
"""Characters of a description that are read."""
_NAMED: Final = {
    Quantity.T1: re.compile(
        r"molli|look[\s_.-]?locker|t1[\s_-]*+(?:map|kart)|(?:mapping|mapa|mappa|carte)[\s_-]*+t1"
        r"|myomaps?[\s_-]*+t1|sasha|sapphire|smart-?1"
    ),
    Quantity.T2: re.compile(
        r"t2[\s_-]*+(?:prep|map|kart)|(?:mapping|mapa|mappa|carte)[\s_-]*+t2|myomaps?[\s_-]*+t2"
    ),
}
_T2_STAR: Final = re.compile(r"t2[\s_-]*+(?:star|\*)")
_SATURATION: Final = re.compile(r"sasha|sapphire|smart-?1|saturation[\s_-]?rec|sat[\s_-]?recovery")
"""T1 by saturation recovery: SASHA, SAPPHIRE (saturation and inversion), SMART1Map."""
_CORRECTED: Final = re.compile(r"moco|motion[\s_-]?corr")
_AT_END: Final = re.compile(r"(?:^|[\W_])t([12])([\s_-]*+map)?+(?:[\s_-]*+\d++)?+\s*$")
_MAP: Final = re.compile(r"t([12])[\s_-]*+map")
_WORD: Final = re.compile(r"[^\W_]++")
_OTHER_MAPS: Final = frozenset(
    re.findall(
        r"\w+",
        "t1rho r1 r2 t1star t2star apparent ecv synecv lambda sd std stdev stderr err error errors residual "
        "residuals rsq rsquare rsquared goodness confidence quality chi2 chisq fitparam fitparams amplitude "
        "m0 mask gfactor snr color colour",
    )
)
"""Words in the names of other images that are derived from a mapping series."""
_MAP_TOKENS: Final = {
    f"{before}T{number}{after}": Quantity(f"T{number}")
    for number in "12"
    for before, after in (("", ""), ("", "MAP"), ("MYOMAPS", ""), ("MYOMAPS", "MAP"))
}
_IMAGE_ROLES: Final = frozenset(("IMAGE", "MOCO", "QUANTITATIVE", "PSIR"))


class Kind(Enum):
    """Kind of an image."""

    WEIGHTED = auto()
    MAP = auto()
    PERHAPS_MAP = auto()
    """A map where it is the only image of its slice; else a weighted image with unknown time."""
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Names:
    """Names that the sender gives an image.

    Attributes:
        roles: data roles.
        types: image types, each one or several values.
        own: descriptions of the image itself, the most trusted first.
        additions: that chains append to its description.
        measurement: descriptions of the measurement that it belongs to.
        history: of its processing.
    """

    roles: Sequence[str] = ()
    types: Sequence[str] = ()
    own: Sequence[str] = ()
    additions: Sequence[str] = ()
    measurement: Sequence[str] = ()
    history: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Recognised:
    """Kind of an image by its names.

    Attributes:
        kind: see :class:`Kind`.
        quantity: of a map; of a weighted image by its descriptions, None where they name none.
        corrected: the scanner has corrected it for motion.
        saturation: a description names a saturation-recovery sequence.
        reason: why it makes no map, where ``kind`` is OTHER.
    """

    kind: Kind
    quantity: Quantity | None = None
    corrected: bool = False
    saturation: bool = False
    reason: str = ""


def recognise(names: Names, *, timed: bool, listed: bool) -> Recognised:
    """Return the kind of an image by its names.

    A name that ends in T1 or T2 is that of a map only if it also names mapping, and if neither the image type
    (ORIGINAL) nor a time of the image contradicts. Where the image type does not confirm it, the number of
    images decides: protocols are named "T1 map" as often as maps.

    Args:
        names: of the image.
        timed: it states an inversion or preparation time itself, readable or not.
        listed: the measurement's header lists times.
    """
    roles = {_token(role) for role in names.roles} - {""}
    types = {_token(part) for text in names.types for part in re.split(r"[\\/,]", text[:_LONGEST])}
    texts = [text[:_LONGEST].lower() for text in (*names.own, *names.measurement, *names.additions)]
    own = texts[: len(names.own)]
    named = next((quantity for text in texts for quantity in Quantity if _names(quantity, text)), None)
    marks = (*own, *texts[len(texts) - len(names.additions) :], *names.history, *roles, *types)
    corrected = any(_CORRECTED.search(mark[:_LONGEST].lower()) for mark in marks)
    if others := roles - _IMAGE_ROLES - _MAP_TOKENS.keys():
        role = foreign(min(others)[:20])
        return Recognised(Kind.OTHER, reason=message("data role {}, not an image or a T1 or T2 map", role))
    if "PSIR" in roles and not timed:
        return Recognised(Kind.OTHER, reason="data role PSIR without an inversion time")
    for token in roles & _MAP_TOKENS.keys():
        return Recognised(Kind.MAP, _MAP_TOKENS[token])
    acquired = timed or "ORIGINAL" in types
    for token in types & _MAP_TOKENS.keys():
        if not acquired or (len(token) > 2 and not (timed and "ORIGINAL" in types)):
            return Recognised(Kind.MAP, _MAP_TOKENS[token])
    # The measurement's name does not describe an image that may be one of a listed series.
    name = own[0] if own else texts[0] if texts and not listed else ""
    if not acquired and (_T2_STAR.search(name) or not _OTHER_MAPS.isdisjoint(_WORD.findall(name))):
        return Recognised(Kind.OTHER, reason="its name is that of another parameter than T1 or T2")
    if not acquired and (made := _map_by_name(name, derived="DERIVED" in types, listed=listed)):
        return made
    saturation = any(_SATURATION.search(text) for text in texts)
    return Recognised(Kind.WEIGHTED, named, corrected, saturation)


def _map_by_name(name: str, *, derived: bool, listed: bool) -> Recognised | None:
    end = _AT_END.search(name)
    if end and (end[2] or _CORRECTED.search(name) or any(_names(quantity, name) for quantity in Quantity)):
        certain = derived or (not end[2] and not listed and bool(_CORRECTED.search(name)))
        return Recognised(Kind.MAP if certain else Kind.PERHAPS_MAP, Quantity(f"T{end[1]}"))
    if found := _MAP.search(name):
        return Recognised(Kind.PERHAPS_MAP, Quantity(f"T{found[1]}"))
    return None


def _names(quantity: Quantity, text: str) -> bool:
    return bool(_NAMED[quantity].search(text)) and not (quantity is Quantity.T2 and _T2_STAR.search(text))


def _token(text: str) -> str:
    return re.sub(r"[\s_-]", "", text[:_LONGEST]).upper()
