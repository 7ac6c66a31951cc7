"""Recognition of mapping images by their names: data roles, image types, descriptions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import pairwise, zip_longest
from typing import Final

from inline.data.client_text import foreign, message
from inline.data.series import Quantity

_LONGEST: Final = 1024
"""Characters of a description that are read."""
_LONGEST_ROLE: Final = 64
"""Characters of a data role that are shown."""
_NAMED: Final = {
    Quantity.T1: re.compile(
        r"molli|modified[\s_.-]*+look|t1[\s_-]*+(?:map|kart)|(?:mapping|mapa|mappa|carte)[\s_-]*+t1"
        r"|myomaps?[\s_-]*+t1|sasha|sapphire|smart-?1"
    ),
    Quantity.T2: re.compile(
        r"t2[\s_-]*+(?:prep|map|kart)|(?:mapping|mapa|mappa|carte)[\s_-]*+t2|myomaps?[\s_-]*+t2"
    ),
}
_LOOK_LOCKER: Final = re.compile(r"look[\s_.-]?locker")
"""T1 mapping or, as often, a TI scout."""
_SCOUT: Final = re.compile(r"scout|lo[ck]ali[sz]")
_NOT_MAPPING: Final = re.compile(r"(?<![a-z])(?:(?:cine|lge)(?![a-z])|(?:late|delayed)[\s_-]*+(?:gad|enh))")
_T1_OR_T2: Final = re.compile(r"(?<![a-z0-9])t[12](?![0-9])")
_STAR: Final = re.compile(
    r"t[12][\s_-]*+(?:star|\*)|(?<![a-z])star(?![a-z])"
    r"|(?<![a-z])gre(?![a-z]).*multi[\s_-]*+echo|multi[\s_-]*+echo.*(?<![a-z])gre(?![a-z])"
)
"""T1* or T2*; several echoes of a gradient echo measure T2*."""
_RHO: Final = re.compile(
    r"t1[\s_-]*+(?:rho|ρ)(?:map|prep|(?![a-z]))|spin[\s_-]?lock(?:ing|ed)?+(?![\s_-]*+off)"
)
"""T1rho, whose decay with the time of the spin lock has the form of T2; not "T1 Rhone" or "T1 rhombic"."""
_SATURATION: Final = re.compile(r"sasha|sapphire|smart-?1(?![.\d])|saturation[\s_-]?rec|sat[\s_-]?recovery")
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
        "m0 mask label labels gfactor snr color colour pd syn synthetic b1 flip offset efficiency chi "
        "uncertainty difference diff sdmap stdmap",
    )
)
"""Words in the names and image types of other images that are derived from a mapping series."""
_OF_PROTOCOLS: Final = frozenset(
    ("pd", "syn", "synthetic", "b1", "flip", "offset", "efficiency", "chi", "difference", "diff")
)
"""Those that name protocols too: "MOLLI flip 35"."""
_OF_WEIGHTED: Final = _OF_PROTOCOLS | {"psir", "r1", "r2", "segment"}
"""Those that describe weighted images too where they are additions: "_GRAPPA_R2"."""
_SEGMENTATION: Final = re.compile(r"segment(?:(?![a-z])|ation|ierung|mask|label)")
"""Masks and labels; "segmented" and "2 segments" describe an acquisition."""
_OTHER_MAP: Final = re.compile(r"(?:(?!PHASE|T[12](?![SR*])).)+MAP")
"""Token of an image type that names the map of another parameter: Philips' R1 MAP and B0 MAP."""
_MAP_TOKENS: Final = {
    f"{before}T{number}{after}": Quantity(f"T{number}")
    for number in "12"
    for before, after in (("", ""), ("", "MAP"), ("MYOMAPS", ""), ("MYOMAPS", "MAP"))
}
WEIGHTINGS: Final = frozenset(map(str, Quantity))
"""Tokens of image types that name a map; as value 3 of the image type of enhanced MR, the weighting."""
_NOT_DERIVED: Final = frozenset(("NONE", "MIXED"))
"""Value 4 of the image type of enhanced MR (DICOM PS3.3, C.8.16.1.4); classic images have none such."""
_INVERSION_ROLES: Final = frozenset(("PSIR", "MAGIR"))
_GADGETRON: Final = re.compile(r"^\s*+(?:gadgetron|gt)_", re.IGNORECASE)
"""Start of the data roles of Gadgetron's earlier versions: GADGETRON_Image, GT_Image."""
_IMAGE_ROLES: Final = _INVERSION_ROLES | {"IMAGE", "IMAGEMOCO", "MOCO", "QUANTITATIVE"}
_PROCESSING_ROLES: Final = frozenset(("AVE", "FIL", "GT", "IMAGEINTENSITYUNCHANGED", "NORM"))
"""Data roles that state processing alone: averaged, filtered, normalised, by Gadgetron, not scaled."""
EARLIER: Final = "earlier result of myostream"
"""Reason why an image makes no map."""
_RESULT: Final = re.compile(r"myostream_(?:t[12]|ecv|lambda)(?:_[a-z]++)?+\s*+$")
"""End of the name of an image of results, which mrd2dicom of python-ismrmrd-server appends as it is."""


class ImageKind(Enum):
    """Kind of an image."""

    WEIGHTED = auto()
    MAP = auto()
    PERHAPS_MAP = auto()
    """A map where it is the only image of its slice; else a weighted image with unknown time."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """Kind of an image by its names.

    Attributes:
        kind: see :class:`ImageKind`.
        quantity: of a map; of a weighted image by its descriptions, None where they name none.
        corrected: the scanner has corrected it for motion.
        saturation: a description names a saturation-recovery sequence, or the image has a saturation time.
        certain: the description that names the quantity is none that TI scouts have as well.
    """

    kind: ImageKind
    quantity: Quantity | None = None
    corrected: bool = False
    saturation: bool = False
    certain: bool = True


def recognise(
    *,
    own: Sequence[str] = (),
    protocols: Sequence[str] = (),
    types: Sequence[str] = (),
    roles: Sequence[str] = (),
    additions: Sequence[str] = (),
    measurement: Sequence[str] = (),
    history: Sequence[str] = (),
    timed: bool,
    listed: bool,
    inverted: bool = False,
) -> Recognised | str:
    """Return the kind of an image by its names, or the reason why it makes no map.

    A name that ends in T1 or T2 is that of a map only if it also names mapping, and if neither the image type
    (ORIGINAL) nor a time of the image contradicts. Where the image type does not confirm it, the number of
    images decides: protocols are named "T1 map" as often as maps.

    Args:
        own: descriptions of the image itself, the most trusted first.
        protocols: likewise, of its protocol; some scanners have one name for all protocols of a session.
        types: image types, each one or several values.
        roles: data roles.
        additions: that chains append to its description.
        measurement: descriptions of the measurement that it belongs to.
        history: of its processing.
        timed: it states an inversion or preparation time itself, readable or not.
        listed: the measurement's header lists times.
        inverted: the image or the header states inversion times.
    """
    role_of = {_token(_GADGETRON.sub("", role[:_LONGEST])): role for role in roles}
    role_tokens = role_of.keys() - _PROCESSING_ROLES - {""}
    type_tokens = _type_tokens(types)
    described, added = _lower(own), _lower(additions)
    named_own = [*described, *_lower(protocols)]
    texts = [*named_own, *_lower(measurement), *added]
    # A header may have its names from the first series of a study, a localizer.
    of_image = [*named_own, *added] if named_own else texts
    scouts = {text for text in of_image if _SCOUT.search(text)}
    deciding = next((text for text in texts if text in scouts or _named(text)), "")
    named, scout = _named(deciding), deciding in scouts
    sure = named is not None and _names(named, deciding)
    made_by = _lower(history)
    acquired = timed or "ORIGINAL" in type_tokens
    # Philips calls maps ORIGINAL, and they may state the inversion time of the protocol. Value 3 of an image
    # as acquired is M or the like.
    as_acquired = timed and "ORIGINAL" in type_tokens
    values = _thirds(types) if as_acquired else _type_values(types)
    naming = type_tokens & set(map(_token, values))
    confirming = {token for token in naming if not acquired or len(token) > 2}
    by_type = _map_by_tokens(confirming, "image type")
    # A site may call its protocol "myostream_T1".
    by_name = (by_type or not as_acquired) and any(map(_RESULT.search, (*described, *added)))
    if by_name or any("myostream" in text for text in made_by):
        return EARLIER
    marks = (*named_own, *added, *made_by, *_lower((*role_tokens, *type_tokens)))
    corrected = any(map(_CORRECTED.search, marks))
    if any(map(_SEGMENTATION.search, _lower(values))):
        return "its image type is that of a segmentation"
    if others := role_tokens - _IMAGE_ROLES - _MAP_TOKENS.keys():
        role = foreign(role_of[min(others)].strip()[:_LONGEST_ROLE])
        return message("data role {}, not an image or a T1 or T2 map", role)
    if (inversion := role_tokens & _INVERSION_ROLES) and not timed:
        return f"data role {min(inversion)} without an inversion time"
    if by_role := _map_by_tokens(role_tokens, "data role"):
        return by_role
    if by_type:
        return by_type
    in_types = {word for value in _lower(values) for word in _WORD.findall(value)}
    if any(map(_OTHER_MAP.fullmatch, naming)) or not _OTHER_MAPS.isdisjoint(in_types):
        return "its image type is that of another parameter than T1 or T2"
    if scout and not sure:
        return "named as a scout or localizer"
    of_rho = next((text for text in of_image if _RHO.search(text) or _named(text)), "")
    # Protocols and headers name whole sessions; images of T1rho have no inversion time.
    if of_rho and not _named(of_rho) and (of_rho in (*described, *added) or not inverted):
        return "named as T1rho, which is not fitted"
    # Names of mapping series refer to cine and late enhancement too ("SAX_post_LGE"): their times decide.
    by_protocol = named is not None and deciding not in (*described, *added) and deciding in of_image
    if by_protocol and any(map(_names_no_mapping, described)):
        if not timed:
            return "named as cine, late enhancement or T2*, though its protocol names mapping"
        named, sure = None, False
    by_header = named is not None and deciding not in of_image and not (timed or listed)
    if by_header and any(map(_NOT_MAPPING.search, named_own)) and not any(map(_T1_OR_T2.search, named_own)):
        return "named as cine or late enhancement, though its header names mapping"
    # The measurement's name does not describe an image that may be one of a listed series.
    name = texts[0] if texts and (named_own or not listed) else ""
    whole = joined((name, *added))[:_LONGEST]
    # The images of a series whose times are listed may be phase-sensitive.
    alone = "DERIVED" in type_tokens or not listed
    words = _OTHER_MAPS | {"psir"} if alone else _OTHER_MAPS - _OF_PROTOCOLS
    segmentation = _SEGMENTATION if alone else None
    of_others = _names_of_other(whole, words, segmentation)
    of_map = "DERIVED" in type_tokens or any(map(_AT_END.search, (name, *added, whole)))
    certain = of_others if of_map else of_others - _OF_WEIGHTED
    if not acquired and (certain or _names_of_other(name, words, segmentation)):
        return "its name is that of another parameter than T1 or T2"
    if name and not acquired and not of_others:
        # An addition may name the map, or stand behind the name of one.
        derived = "DERIVED" in type_tokens
        # Each image of a series whose times are listed may bear the addition: their number decides.
        by_addition = _map_by_name(whole, derived=derived and not listed, listed=listed)
        made = (_map_by_name(name, derived=derived, listed=listed), by_addition)
        if maps := [each for each in made if each]:
            best = min(maps, key=lambda each: each.kind is not ImageKind.MAP)
            # It may be an image of a corrected series.
            return replace(best, corrected=corrected and best.kind is ImageKind.PERHAPS_MAP)
    saturation = any(_SATURATION.search(text) for text in texts)
    return Recognised(ImageKind.WEIGHTED, named, corrected, saturation, certain=sure and not scout)


def joined(parts: Iterable[str]) -> str:
    """Return the parts of a description joined by ``_`` as in MRD's documentation; repeated ones once."""
    return "_".join(dict.fromkeys(filter(None, (part.lstrip("_- ") for part in parts))))


def _type_tokens(types: Iterable[str]) -> set[str]:
    """Return the tokens of image types without those that name the weighting of an enhanced image."""
    found = [_token(value) for value in _type_values(types)]
    return {
        token
        for token, following in zip_longest(found, found[1:])
        if token not in WEIGHTINGS or following not in _NOT_DERIVED
    }


def _type_values(types: Iterable[str]) -> list[str]:
    return [value for text in types for value in re.split(r"[\\/,]", text[:_LONGEST])]


def _thirds(types: Iterable[str]) -> list[str]:
    """Return the values 3 of image types."""
    return [
        third for second, third in pairwise(_type_values(types)) if _token(second) in ("PRIMARY", "SECONDARY")
    ]


def _map_by_tokens(tokens: Iterable[str], place: str) -> Recognised | str | None:
    """Return the map that the tokens of a place name, or the reason why they name none for certain."""
    quantities = {_MAP_TOKENS[token] for token in tokens if token in _MAP_TOKENS}
    if len(quantities) > 1:
        return f"its {place} names both a T1 and a T2 map"
    return Recognised(ImageKind.MAP, quantities.pop()) if quantities else None


def _map_by_name(name: str, *, derived: bool, listed: bool) -> Recognised | None:
    end = _AT_END.search(name)
    if end and (end[2] or _CORRECTED.search(name) or _named(name)):
        certain = derived or (not end[2] and not listed and bool(_CORRECTED.search(name)))
        return Recognised(ImageKind.MAP if certain else ImageKind.PERHAPS_MAP, Quantity(f"T{end[1]}"))
    if found := _MAP.search(name):
        return Recognised(ImageKind.PERHAPS_MAP, Quantity(f"T{found[1]}"))
    return None


def _named(text: str) -> Quantity | None:
    """Return the quantity that a description names, certain or not."""
    certain = next((quantity for quantity in Quantity if _names(quantity, text)), None)
    return certain or (Quantity.T1 if _LOOK_LOCKER.search(text) else None)


def _names(quantity: Quantity, text: str) -> bool:
    return bool(_NAMED[quantity].search(text)) and not (quantity is Quantity.T2 and _STAR.search(text))


def _names_of_other(text: str, words: frozenset[str], segmentation: re.Pattern[str] | None) -> frozenset[str]:
    """Return the parts of a name that are those of the map of another parameter, or of a mask."""
    patterns = (_STAR, _RHO, segmentation) if segmentation else (_STAR, _RHO)
    return words.intersection(_WORD.findall(text)).union(*(each.findall(text) for each in patterns))


def _names_no_mapping(text: str) -> bool:
    """Return whether a description names cine, late enhancement or T2*, and neither T1 nor T2."""
    other = _STAR.sub("", text)
    return bool(_NOT_MAPPING.search(text) or other != text) and not (_T1_OR_T2.search(other) or _named(other))


def _lower(texts: Iterable[str]) -> list[str]:
    return [text[:_LONGEST].lower() for text in texts]


def _token(text: str) -> str:
    return re.sub(r"[\s_-]", "", text[:_LONGEST]).upper()
