"""Schema of records and messages: validation of those of a peer (``docs/stream.md``)."""

from __future__ import annotations

import json
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inline.data.series import Quantity
from inline.emit.record import Record

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Counter = Annotated[int, Field(ge=0, le=65535)]
_Pixel = Annotated[float, Field(ge=-1e5, le=1e5)]
_MOST_SHOWN: Final = 200


class _Checked(BaseModel):
    # Fields of later versions are kept.
    model_config = ConfigDict(strict=True, extra="allow")


class _Region(_Checked):
    name: str
    median: _Number | None
    q1: _Number | None
    q3: _Number | None
    sd: _Number | None = None
    pixels: Annotated[int, Field(ge=0)] = 0
    z_score: _Number | None = None


class _Contour(_Checked):
    pixels: Annotated[list[Annotated[list[_Pixel], Field(min_length=2, max_length=2)]], Field(min_length=3)]


class _Contours(_Checked):
    endo: _Contour
    epi: _Contour


class _Insertion(_Checked):
    pixels: Annotated[list[_Pixel], Field(min_length=2, max_length=2)]
    confidence: _Number


class _Insertions(_Checked):
    anterior: _Insertion | None
    inferior: _Insertion | None


class _Offsets(_Checked):
    endo: _Number | None
    epi: _Number | None


class _Motion(_Checked):
    state: str
    largest_shift_mm: _Number | None = None
    r_squared_before: _Number | None = None
    r_squared_after: _Number | None = None


class Slice(_Checked):
    """One slice (:func:`inline.emit.record.slice_record`)."""

    series_index: _Counter
    slice_index: _Counter
    quantity: Annotated[str, Field(pattern=f"^({'|'.join(Quantity)})$")]
    regions: list[_Region]
    flags: list[str]
    contours: _Contours | None = None
    insertions: _Insertions | None = None
    level: str | None = None
    description: str = ""
    time_stamp: int = 0
    scanner_made_map: bool = False
    contour_offsets_mm: _Offsets | None = None
    contour_convention_mm: _Offsets | None = None
    region_inset: _Number | None = None
    confidence: _Number | None = None
    confidence_source: str = ""
    confidence_reason: str = ""
    enhancement: str | None = None
    field_strength_T: _Number | None = None  # noqa: N815
    reference: str = ""
    notes: list[str] = []
    error: str = ""
    motion_corrected: bool = False
    motion: _Motion | None = None
    t1_scale: _Number = 1.0
    times_ms: dict[str, _Number | None] = {}


class _Acquisition(_Checked):
    series_index: _Counter
    slice_index: _Counter
    description: str = ""
    time_stamp: int = 0


class _EcvRegion(_Region):
    partition_coefficient: _Number | None
    standard_error: _Number | None = None


class Ecv(_Checked):
    """ECV of one slice position (:func:`inline.emit.record.ecv_record`)."""

    native: _Acquisition
    post_contrast: _Acquisition | None
    haematocrit: _Number | None
    haematocrit_source: str | None = None
    regions: list[_EcvRegion]
    flags: list[str]
    level: str | None = None
    reference: str = ""
    notes: list[str] = []
    error: str = ""


class _Summary(_Checked):
    session: str
    text: str


def read_record(content: Record | str, kind: type[_Checked] = Slice) -> Record:
    """Return a record of :func:`inline.emit.record.slice_record`, with defaults for older fields.

    Args:
        content: the record, or its JSON.
        kind: of the record.

    Raises:
        ValueError: the content is no such record; the message is one line.
    """
    try:
        made = kind.model_validate_json(content) if isinstance(content, str) else kind.model_validate(content)
        found = made.model_dump()
        json.dumps(found, allow_nan=False)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}"[:_MOST_SHOWN] if place else first["msg"]) from error
    except (TypeError, RecursionError) as error:
        raise ValueError("it holds values that are no JSON") from error
    return found


def read_message(content: Record) -> Record:
    """Return a ZeroMQ message: the record of a slice or of ECV, or the summary of a connection.

    Raises:
        ValueError: the content is none of these; the message is one line.
    """
    if "post_contrast" in content:
        return read_record(content, Ecv)
    return read_record(content, Slice if "quantity" in content or "session" not in content else _Summary)
