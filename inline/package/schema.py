"""Schema of the OpenRecon label, metadata 1.1.0: what a host reads of an image before it starts it.

Written after the fields, types and limits of the public ``OpenReconSchema_1.1.0.json`` (neurodesk/openrecon,
``recipes/``). Beyond it, the ids of parameters and choices differ, and a default lies in its range or among
the choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inline.data.errors import MyostreamError

PARAMETERS_MOST: Final = 14
"""Most parameters of a label."""
STEP: Final = Decimal("0.1")
"""Numbers of a ``double`` are multiples of it."""
_INT: Final = 1 << 31


class PackageError(MyostreamError):
    """A package cannot be made as asked."""


class _Open(BaseModel):
    """Object that may hold fields of others, such as further languages."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, content: Any) -> Any:
        if isinstance(content, dict) and (null := [name for name, value in content.items() if value is None]):
            raise ValueError(f"{', '.join(null)} must be left out, not null")
        return content


class _Closed(_Open):
    """Object of the stated fields alone."""

    model_config = ConfigDict(extra="forbid")


class Words(_Open):
    """Text for users, by language."""

    en: str


class Unit(_Open):
    """Unit of a number, by language."""

    en: str = Field(min_length=1, max_length=3)


class _Parameter(_Closed):
    """Parameter on the console.

    Attributes:
        id: letters and digits; protocols hold the value by it.
        label: name on the console.
        information: what it does.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9]+$")
    label: Words
    information: Words | None = None


class BooleanParameter(_Parameter):
    """Switch."""

    type: Literal["boolean"] = "boolean"
    default: bool


class StringParameter(_Parameter):
    """Text."""

    type: Literal["string"] = "string"
    default: str | None = None
    isLargeText: bool | None = None  # noqa: N815 - name of the format


class Choice(_Closed):
    """One choice; the program receives its id."""

    id: str
    name: Words


class ChoiceParameter(_Parameter):
    """One of several texts."""

    type: Literal["choice"] = "choice"
    default: str
    values: list[Choice] = Field(min_length=1)

    @model_validator(mode="after")
    def _default_is_a_choice(self) -> Self:
        ids = [each.id for each in self.values]
        if repeated := _repeated(ids):
            raise ValueError(f"the choice {repeated!r} is there twice")
        if self.default not in ids:
            raise ValueError(f"the default {self.default!r} is no choice; there are {', '.join(ids)}")
        return self


class IntParameter(_Parameter):
    """Whole number, from minimum to maximum."""

    type: Literal["int"] = "int"
    minimum: int = Field(ge=-_INT, lt=_INT)
    maximum: int = Field(ge=-_INT, lt=_INT)
    default: int = Field(ge=-_INT, lt=_INT)
    unit: Unit | None = None

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        _check_range(self.minimum, self.default, self.maximum)
        return self


class DoubleParameter(_Parameter):
    """Number in steps of 0.1, from minimum to maximum."""

    type: Literal["double"] = "double"
    minimum: float
    maximum: float
    default: float
    unit: Unit | None = None

    @model_validator(mode="after")
    def _in_range_and_steps(self) -> Self:
        for name in ("minimum", "maximum", "default"):
            number = Decimal(repr(getattr(self, name)))
            # Beyond some 27 digits the remainder is not defined.
            if abs(number) > _INT or number % STEP:
                raise ValueError(f"{name} {getattr(self, name)!r} is no multiple of {STEP} up to {_INT}")
        _check_range(self.minimum, self.default, self.maximum)
        return self


Parameter = BooleanParameter | StringParameter | ChoiceParameter | IntParameter | DoubleParameter


class Regulatory(_Closed):
    """Statements of a medical device; empty texts where there is none to make."""

    device_trade_name: str
    production_identifier: str
    manufacturer_address: str
    made_in: str
    manufacture_date: str
    material_number: str
    gtin: str
    udi: str
    safety_advices: str
    special_operating_instructions: str
    additional_relevant_information: str


class General(_Closed):
    """Name, version and vendor of the program; ``id`` stays through all versions."""

    name: Words
    version: str = Field(pattern=r"^(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$")
    vendor: str
    information: Words
    id: str
    regulatory_information: Regulatory
    license_string: str | None = None


class Protocol(_Open):
    """Protocol between host and program."""

    protocol: Literal["ISMRMRD"] = "ISMRMRD"
    version: Literal["1.4.1"] = "1.4.1"


class ChannelCompression(_Closed):
    """State of coil compression that the program needs."""

    require_state: Literal["on", "off"] | None = None
    require_number_target_channels: int | None = Field(None, ge=1)


class Reconstruction(_Closed):
    """Needs of the program; memory in MB."""

    transfer_protocol: Protocol
    port: int
    emitter: Literal["raw", "image"]
    injector: Literal["compleximage", "image"]
    can_process_adjustment_data: bool | None = None
    can_use_gpu: bool
    min_count_required_gpus: int | None = Field(None, ge=0)
    min_required_gpu_memory: int | None = Field(None, ge=0)
    min_required_memory: int = Field(ge=0)
    min_count_required_cpu_cores: int = Field(ge=1)
    content_qualification_type: Literal["PRODUCT", "SERVICE", "RESEARCH"] | None = None
    require_readout_filter_off: bool | None = None
    channel_compression: ChannelCompression | None = None


class Label(_Closed):
    """Label of an image: what the host shows, needs and sends."""

    general: General
    reconstruction: Reconstruction
    parameters: list[Annotated[Parameter, Field(discriminator="type")]] = Field(max_length=PARAMETERS_MOST)

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        if repeated := _repeated(each.id for each in self.parameters):
            raise ValueError(f"the parameter id {repeated!r} is there twice")
        return self

    def content(self) -> dict[str, Any]:
        """Return the label as plain values for JSON."""
        return self.model_dump(exclude_none=True)

    def defaults(self) -> dict[str, bool | int | float | str]:
        """Return the default values by id, as a host sends them where nobody changes any."""
        return {each.id: each.default for each in self.parameters if each.default is not None}


def check_label(content: Mapping[str, Any]) -> Label:
    """Return a label from plain values.

    Raises:
        PackageError: it does not follow the schema; the message names every field that does not.
    """
    with reported_problems():
        return Label.model_validate(content)


@contextmanager
def reported_problems() -> Iterator[None]:
    """Raise PackageError in place of pydantic's error, with the name of every field that is wrong."""
    try:
        yield
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'label'}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors()
        )
        raise PackageError(f"the OpenRecon label does not follow metadata 1.1.0: {wrong}") from error


def _check_range(minimum: float, default: float, maximum: float) -> None:
    if not minimum <= default <= maximum:
        raise ValueError(f"the default {default!r} does not lie within {minimum!r} to {maximum!r}")


def _repeated(names: Iterable[str]) -> str | None:
    """Return the first name that comes a second time."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
