"""Reference ranges: normal values of a site, and z-scores by them.

Normal values of T1, T2 and ECV differ between scanners, sequences and ways of evaluation. Each site needs its
own (Messroghli et al. 2017, J Cardiovasc Magn Reson 19:75). Without a range there is no z-score.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from inline.data.errors import ConfigurationError
from inline.data.flags import Flag
from inline.data.results import RegionValues, SliceResult
from inline.data.series import Enhancement, Quantity
from model.relaxometry.ecv import SAME_FIELD

Measured = Literal["T1", "T2", "ECV"]
Region = TypeVar("Region", bound=RegionValues)

_SAME_MM: Final = 0.01
"""Rounding of offsets that count as equal."""
_SAME_SCALE: Final = 1e-4
"""Rounding of factors and shares that count as equal."""


class ReferenceRange(BaseModel):
    """Normal values of one region.

    Attributes:
        quantity: native T1, T2 (ms) or ECV (%).
        region: name as in the results.
        field_strength: tesla.
        mean: of the medians of the region in normal persons.
        sd: of single slices over normal persons.
        n: persons.
        source: of the values.
        sequence: text that the series description contains, in either case; empty for every sequence.
        sex: M or F; None for both.
        t1_scale: factor on T1 with which the values were made; None where it does not matter.
        contour_convention_mm: contour convention as set, likewise; ``contour_offsets_mm`` in older files.
        region_inset: setting ``regions.inset``, likewise.
        scanner_made: the maps came from the scanner; else they were fitted here, as in files that state none.
        shmolli: the T1 maps were fitted from images of ShMOLLI; likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    quantity: Measured
    region: str
    field_strength: float = Field(ge=0.1, le=20)
    mean: float
    sd: float = Field(gt=0)
    n: int = Field(ge=2)
    source: str
    sequence: str = ""
    sex: Literal["M", "F"] | None = None
    t1_scale: float | None = None
    contour_convention_mm: tuple[float, float] | None = Field(
        None, validation_alias=AliasChoices("contour_convention_mm", "contour_offsets_mm")
    )
    region_inset: float | None = None
    scanner_made: bool = False
    shmolli: bool = False


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    range: tuple[ReferenceRange, ...]


@dataclass(frozen=True, slots=True)
class ReferenceRanges:
    """Ranges of a site; empty for none."""

    ranges: tuple[ReferenceRange, ...] = ()

    @classmethod
    def load(cls, file: Path | None) -> ReferenceRanges:
        """Read a TOML file of ``[[range]]`` tables; None gives no ranges.

        Raises:
            ConfigurationError: it cannot be read, a value is wrong, or two ranges are for the same.
        """
        if file is None:
            return cls()
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
            # Strict, so that texts and truth values are no numbers; as JSON, so that lists are tuples.
            found = _File.model_validate_json(json.dumps(content, default=str), strict=True).range
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise ConfigurationError(
                f"the reference ranges in {file} cannot be used: {place}: {first['msg']}"
            ) from error
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"the reference ranges in {file} cannot be read: {error}") from error
        seen = set[tuple[object, ...]]()
        for each in found:
            key = (each.quantity, each.region, round(each.field_strength, 1), each.sequence.lower(), each.sex)
            if (*key, each.scanner_made, each.shmolli) in seen:
                raise ConfigurationError(f"{file} has two ranges for {', '.join(map(str, key))}; keep one")
            seen.add((*key, each.scanner_made, each.shmolli))
        return cls(found)

    def of(self, quantity: Measured, result: SliceResult) -> tuple[dict[str, ReferenceRange], str]:
        """Return the range of each region for a slice, and a note where the site has ranges but none fits.

        The most specific range holds: with the person's sex before without, then with the longest sequence.

        Args:
            quantity: to be compared.
            result: slice, of ECV the native one.
        """
        wanted = [each for each in self.ranges if each.quantity == quantity]
        if not wanted:
            return {}, ""
        if result.enhancement is Enhancement.POST_CONTRAST:
            # Contrast agent shortens T2 as well; nobody expects normal values of post-contrast T1.
            return {}, "No z-scores of T2: the map is post-contrast." if quantity == "T2" else ""
        if quantity != "T2" and result.enhancement is None:
            return {}, f"No z-scores of {quantity}: it is not known whether the map is native."
        if result.field_strength is None:
            return {}, f"No z-scores of {quantity}: the header states no field strength of 0.1 to 20 T."
        name = result.identity.description.lower()
        fitting = [
            each
            for each in wanted
            if abs(each.field_strength - result.field_strength) <= SAME_FIELD
            and each.sequence.lower() in name
            and each.sex in (None, result.sex)
        ]
        if not fitting:
            at = f"{result.field_strength:g} T, this sequence and this person"
            return {}, f"No z-scores of {quantity}: no reference range is for {at}."
        # The scanner's T1 of the same images differs from the fitted one by some percent: more than an SD.
        fitting = [each for each in fitting if each.scanner_made == result.scanner_made]
        if not fitting:
            own, others = ("the scanner's", "fitted") if result.scanner_made else ("fitted", "the scanner's")
            return {}, f"No z-scores of {quantity}: the map is {own}, the ranges are of {others} maps."
        fitting = [each for each in fitting if each.shmolli == (Flag.SHMOLLI in result.flags)]
        if not fitting:
            return {}, f"No z-scores of {quantity}: either the map or the reference ranges are of ShMOLLI."
        comparable = [each for each in fitting if not _differences(each, result)]
        if not comparable:
            found = " and ".join(_differences(fitting[0], result))
            return {}, f"No z-scores of {quantity}: the reference ranges were made with {found}."
        ordered = sorted(comparable, key=lambda each: (each.sex is not None, len(each.sequence)))
        return {each.region: each for each in ordered}, ""


def with_z_scores(
    regions: Iterable[Region], ranges: dict[str, ReferenceRange]
) -> tuple[tuple[Region, ...], str]:
    """Return the regions with their z-scores, and the sources of the ranges used."""
    scored: list[Region] = []
    sources: dict[str, None] = {}
    for each in regions:
        found = ranges.get(each.name)
        if found is None or each.median is None:
            scored.append(each)
            continue
        scored.append(replace(each, z_score=(each.median - found.mean) / found.sd))
        sources[f"{found.source} (n = {found.n})"] = None
    return tuple(scored), "; ".join(sources)


def quantity_of(result: SliceResult) -> Measured:
    """Return the quantity of a slice as ranges name it."""
    return "T1" if result.quantity is Quantity.T1 else "T2"


def _differences(each: ReferenceRange, result: SliceResult) -> list[str]:
    """Return the settings in which a range and a slice differ, with the values of both."""
    pairs: list[tuple[str, tuple[float, ...] | None, tuple[float, ...] | None, float]] = [
        ("mapping.t1_scale", _single(each.t1_scale), _single(result.t1_scale), _SAME_SCALE),
        # Not the offsets as applied: those of a thin wall are smaller, as are those of another convention.
        ("contour convention (endo, epi) in mm", each.contour_convention_mm, result.convention, _SAME_MM),
        ("regions.inset", _single(each.region_inset), _single(result.inset), _SAME_SCALE),
    ]
    return [
        f"{name} {_stated(made)}, not {_stated(now)}"
        for name, made, now, same in pairs
        if made is not None
        and (now is None or any(abs(one - other) > same for one, other in zip(made, now, strict=True)))
    ]


def _single(value: float | None) -> tuple[float] | None:
    return None if value is None else (value,)


def _stated(values: tuple[float, ...] | None) -> str:
    return "an unknown one" if values is None else ", ".join(f"{each:.6g}" for each in values)
