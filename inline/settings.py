"""All settings as one frozen, validated object, from a TOML file, the environment and the command line."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from inline.data.errors import ConfigurationError
from inline.data.results import ContourOffsets, SliceLevel
from model.relaxometry.ecv import check_haematocrit

EngineName = Literal["auto", "tensorrt", "cuda", "openvino-int8", "openvino-bf16", "openvino-f32", "torch"]
DicomOutput = Literal["map", "segmentation", "report", "capture"]
"""Kind of a DICOM object: Parametric Map, Segmentation, Structured Report, Secondary Capture."""

_DAY_S: Final = 86400.0
"""Longest time of any setting: timers of the operating system overflow beyond some limit."""

_MISSPELT: Final = 0.85
"""Similarity of two names (``difflib``) from which one is the other misspelt."""
_KUBERNETES: Final = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_|$)|_PORT_[0-9]+_(TCP|UDP|SCTP)(_|$)")
"""In the variables that Kubernetes derives from the names of services; one more ends in ``_PORT``."""
_SERVICE: Final = re.compile(r"(tcp|udp|sctp)://")
"""Beginning of the value of that one."""

FURTHEST_MM: Final = 5.0
"""Largest distance of a contour from the border of the wall: half a normal wall."""
_AE_TITLE: Final = re.compile(r"[ -\[\]-~]{0,16}")
"""Form of an AE title (PS3.5 6.2): printable, without a backslash."""


def _check_ae_title(title: str) -> str:
    if not _AE_TITLE.fullmatch(title):
        raise ValueError(
            "an AE title has at most 16 characters, which are printable ASCII without a backslash"
        )
    return title


def _check_path(value: object) -> object:
    if value == "":  # else the folder that relative paths are taken from
        raise ValueError("the path is empty; leave the setting out for none")
    return value


_AETitle = Annotated[str, AfterValidator(_check_ae_title)]
_Path = Annotated[Path, BeforeValidator(_check_path)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AssemblySettings(_Frozen):
    """Assembly of images into series.

    Attributes:
        idle_s: time without images after which a series of unknown length is complete, s.
        patience_s: time without images after which an incomplete series is fitted from its images, s.
        open_s: longest time that a series stays open, s.
        open_images: most images held in incomplete series of one connection; beyond it the oldest go.
        fitted_pixels: most pixels of an image that a map is fitted from; larger images pass and are reported.
        fitted_values: most pixels of all images of a series together; likewise.
        images: number of images per series, where neither header nor counters state it correctly.
        t1_map_scale: ms per unit of the pixels of a scanner-made T1 map, where its header states none.
        t2_map_scale: likewise for T2 (Siemens stores tenths of a millisecond: 0.1).
        motion: images that are fitted where a sender sends a slice as acquired and corrected for motion: the
            corrected ones where there are any (``prefer-corrected``), those of one kind only
            (``corrected``, ``uncorrected``), or both separately (``both``).
        corrected_wait_s: time that a complete series waits for its motion-corrected images, s, until the
            connection has shown whether its sender sends any.
    """

    idle_s: float = Field(6.0, gt=0, le=_DAY_S)
    patience_s: float = Field(30.0, gt=0, le=_DAY_S)
    open_s: float = Field(300.0, gt=0, le=_DAY_S)
    open_images: int = Field(2048, ge=16)
    fitted_pixels: int = Field(1 << 20, ge=1 << 12)
    fitted_values: int = Field(1 << 24, ge=1 << 12)
    images: int | None = Field(None, ge=2)
    t1_map_scale: float = Field(1.0, gt=0)
    t2_map_scale: float = Field(1.0, gt=0)
    motion: Literal["prefer-corrected", "corrected", "uncorrected", "both"] = "prefer-corrected"
    corrected_wait_s: float = Field(1.0, ge=0, le=_DAY_S)


class MappingSettings(_Frozen):
    """Fit of the maps.

    Attributes:
        t1_scale: factor on every fitted T1. The T1 maps of Siemens scanners are larger than the Look-Locker
            corrected fit by 1.0365 (``docs/series.md``).
        motion_correction: correct the images of a series for motion where they move (``auto``), or never
            (``off``). Images that the scanner has corrected are left alone.
    """

    t1_scale: float = Field(1.0, ge=0.5, le=2.0)
    motion_correction: Literal["auto", "off"] = "auto"


class ContourSettings(_Frozen):
    """Contour convention (``docs/settings.md`` gives the reasons and the sources).

    Attributes:
        endo_offset_mm: distance of the endocardial contour from the border of the wall, mm: positive into
            the wall, negative into the cavity.
        epi_offset_mm: likewise of the epicardial contour; negative is outwards.
    """

    endo_offset_mm: float = Field(1.5, ge=-FURTHEST_MM, le=FURTHEST_MM)
    epi_offset_mm: float = Field(1.5, ge=-FURTHEST_MM, le=FURTHEST_MM)

    @property
    def offsets(self) -> ContourOffsets:
        """Both distances."""
        return ContourOffsets(self.endo_offset_mm, self.epi_offset_mm)


class RegionSettings(_Frozen):
    """Regions of the values.

    Attributes:
        inset: share of the thickness between the contours that is left out at each of them.
        septum_degrees: direction of the middle of the septum in the image, degrees anticlockwise from the
            right; None takes it from the insertion points or a usual heart.
        levels: slice level by slice index.
    """

    inset: float = Field(0.1, ge=0, lt=0.5)
    septum_degrees: float | None = Field(None, ge=-360, le=360)
    levels: dict[int, SliceLevel] = Field(default_factory=dict)


class EcvSettings(_Frozen):
    """Extracellular volume fraction (``docs/ecv.md``).

    Attributes:
        haematocrit: of the patient, a fraction from 0.2 to 0.65; None where it is not known.
        haematocrits: CSV file with the haematocrit of each study, which goes before ``haematocrit``
            (:mod:`inline.examination.haematocrits`); None for none.
        synthetic: without a haematocrit, compute one from native blood T1, where a formula for the field
            strength is published; results state it.
    """

    haematocrit: float | None = None
    haematocrits: _Path | None = None
    synthetic: bool = False

    @field_validator("haematocrit")
    @classmethod
    def _check(cls, value: float | None) -> float | None:
        return None if value is None else check_haematocrit(value)

    def of_patient(self, haematocrit: float | None) -> Self:
        """Return the settings with the haematocrit that was stated for a patient, where one was.

        It goes before the file, which is not read then.
        """
        if haematocrit is None:
            return self
        return self.model_copy(update={"haematocrit": haematocrit, "haematocrits": None})


class ReferenceSettings(_Frozen):
    """Reference ranges.

    Attributes:
        file: TOML file of the site's normal values (``docs/ranges.md``); None for none, and no z-scores.
    """

    file: _Path | None = None


class ServerSettings(_Frozen):
    """MRD server.

    Attributes:
        host: address to listen on; others than the loopback address admit the network.
        peers: networks whose hosts may connect (``["192.0.2.0/24", "127.0.0.1/32"]``); empty admits all.
        port: 0 takes any free one.
        connections: most at a time; further ones wait and receive a text that says so.
        queue_bytes: images in the send queue of one connection beyond which reading from it pauses.
        memory_bytes: images, slices and results held for all connections; beyond it images pass without a
            map (``docs/protocol.md``).
        connection_bytes: likewise for one connection; None for a quarter of seven eighths of it.
        slices_in_flight: slices of one connection in work beyond which reading from it pauses.
        stalled_s: time after which a peer that reads nothing, or stops within a message, is cut off, s.
        least_rate: bytes per second: a message of n bytes must pass within ``stalled_s + n / least_rate``.
        drain_s: time for the slices in flight on all connections at shutdown, s.
    """

    host: str = "127.0.0.1"
    peers: tuple[IPvAnyNetwork, ...] = ()
    port: int = Field(9002, ge=0, le=65535)
    connections: int = Field(16, ge=1, le=1000)
    queue_bytes: int = Field(1 << 26, ge=1 << 20)
    memory_bytes: int = Field(768 << 20, ge=1 << 20)
    connection_bytes: int | None = Field(None, ge=1 << 16)
    slices_in_flight: int = Field(12, ge=1, le=1000)
    stalled_s: float = Field(60.0, gt=0, le=_DAY_S)
    least_rate: float = Field(16384.0, gt=0)
    drain_s: float = Field(20.0, gt=0, le=_DAY_S)


class LogSettings(_Frozen):
    """Log.

    Attributes:
        foreign_text: quote texts of clients (series descriptions, names of configurations, parameters), which
            may hold names of patients; else only their length is logged.
        lines_per_minute: most lines of a kind for one peer; further ones are only counted.
        format: of a line where the log does not go to a terminal: ``text``, or a JSON object (``json``).
    """

    foreign_text: bool = False
    lines_per_minute: int = Field(120, ge=1)
    format: Literal["text", "json"] = "text"


class MonitorSettings(_Frozen):
    """HTTP server of metrics and health (``docs/monitoring.md``).

    Attributes:
        port: None for no such server, 0 for any free port.
        host: address to listen on; others than the loopback address need a token.
        token: that requests must bear (``Authorization: Bearer``); None for none.
        page_port: of the live page (``docs/page.md``), likewise.
        page_texts: the live page shows texts of a sender, which may hold the name of a patient; else only
            their length.
    """

    port: int | None = Field(None, ge=0, le=65535)
    host: str = "127.0.0.1"
    token: SecretStr | None = Field(None, min_length=16)
    page_port: int | None = Field(None, ge=0, le=65535)
    page_texts: bool = False


class EmitSettings(_Frozen):
    """Results that are sent, and their destinations.

    Attributes:
        series_offset: results of series n have the indices from ``series_offset + 10 n`` on, where no series
            of the sender has one of these numbers (``docs/protocol.md``).
        max_pixel: largest pixel of a map; consoles show 12 bits, 0 to 4095. Larger values are clipped to it.
        originals: images of the sender go back bit-exact (``as-is``), with the attribute
            ``Keep_image_geometry`` added (``keep-geometry``), or not at all (``none``).
        overlay: send an RGB overlay; to a Gadgetron chain only where its own configuration asks for it.
        segmentation: send the labels.
        report: send a report of each study of a connection as an RGB image at its end (extra ``report``).
        uncertainty: send the standard deviation of each pixel of a map, and the uncertainty of the network's
            class boundaries over the map.
        zmq: ZeroMQ address of the results (``tcp://127.0.0.1:5560``); empty for none.
        zmq_keys: folder made by ``myostream keys``; only clients with a key in it receive the results.
        zmq_insecure: publish without keys on an address that other hosts reach.
    """

    series_offset: int = Field(5000, ge=0, le=60000)
    max_pixel: int = Field(4095, ge=255, le=65535)
    originals: Literal["as-is", "keep-geometry", "none"] = "as-is"
    overlay: bool = True
    segmentation: bool = True
    report: bool = False
    uncertainty: bool = False
    zmq: str = ""
    zmq_keys: _Path | None = None
    zmq_insecure: bool = False


class DicomDestination(_Frozen):
    """Destination of DICOM results: an application entity, or the address of a DICOMweb service.

    Attributes:
        name: of the destination, for log and queue.
        ae_title: of a C-STORE provider.
        host, port: of a C-STORE provider.
        tls: connect to it by TLS.
        url: of a DICOMweb service, in place of these three (``https://pacs.example/dicom-web``).
        user, password: of the service (HTTP basic), where it asks for them.
        commitment: ask a C-STORE provider for storage commitment; a result stays queued until it commits.
    """

    name: str = Field(min_length=1, max_length=64)
    ae_title: _AETitle = ""
    host: str = ""
    port: int = Field(104, ge=1, le=65535)
    tls: bool = False
    url: str = Field("", pattern=r"^(https?://[^\s]+)?$")
    user: str = ""
    password: SecretStr = SecretStr("")
    commitment: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.url) == bool(self.host and self.ae_title):
            raise ValueError("a destination has either ae_title, host and port, or url")
        if self.url and self.commitment:
            raise ValueError("a destination with a url has no storage commitment; leave commitment out")
        return self


class DicomSettings(_Frozen):
    """DICOM node (``docs/dicom-node.md``).

    Attributes:
        ae_title: of the node.
        host: address to listen on; others than the loopback address admit the network.
        port: 0 takes any free one.
        calling_ae_titles: of the senders that may connect; empty admits all.
        peers: networks whose hosts may connect; empty admits all.
        associations: most at a time, half of them of one host; further ones are rejected.
        object_bytes: largest object that is received.
        spool: folder of the queue; it holds patient data until results are delivered.
        spool_bytes: most bytes in it; beyond it objects are refused ("out of resources").
        free_bytes: space that the node leaves free on its disk; likewise.
        idle_s: time without objects after which a series is complete, where they state no number.
        kept_s: time after its last object that a processed series with maps stays in the spool: for the ECV
            of later series of its study, and for images that come late.
        destinations: of the results; each receives all of them.
        outputs: kinds of objects that are made.
        retry_s: time until the first new attempt to deliver; it doubles with each further one.
        retry_most_s: longest time between two attempts.
        commitment_s: time for a report on storage commitment, after which a result is sent again.
        tls_certificate, tls_key: files (PEM) of the certificate of the node, which then listens by TLS alone.
        tls_ca: file (PEM) of the authorities that certificates of senders and destinations must come from.
    """

    ae_title: _AETitle = Field("MYOSTREAM", min_length=1)
    host: str = "127.0.0.1"
    port: int = Field(11112, ge=0, le=65535)
    calling_ae_titles: tuple[Annotated[_AETitle, Field(min_length=1)], ...] = ()
    peers: tuple[IPvAnyNetwork, ...] = ()
    associations: int = Field(8, ge=1, le=1000)
    object_bytes: int = Field(1 << 28, ge=1 << 20)
    spool: _Path | None = None
    spool_bytes: int = Field(20 << 30, ge=1 << 20)
    free_bytes: int = Field(1 << 30, ge=0)
    idle_s: float = Field(5.0, gt=0, le=_DAY_S)
    kept_s: float = Field(14_400.0, ge=0, le=_DAY_S)
    destinations: tuple[DicomDestination, ...] = ()
    outputs: tuple[DicomOutput, ...] = ("map", "segmentation", "report", "capture")
    retry_s: float = Field(5.0, gt=0, le=_DAY_S)
    retry_most_s: float = Field(300.0, gt=0, le=_DAY_S)
    commitment_s: float = Field(3600.0, gt=0, le=_DAY_S)
    tls_certificate: _Path | None = None
    tls_key: _Path | None = None
    tls_ca: _Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [each.name for each in self.destinations]
        if len(set(names)) < len(names):
            raise ValueError("each destination needs a name of its own")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key are given together")
        return self


_TABLES: Final = {"dicom.destinations": DicomDestination}
"""Lists of tables, whose names TOML writes in double brackets."""


class Settings(_Frozen):
    """All settings with their defaults.

    Attributes:
        engine: runs the network; ``auto`` takes the first of the fallback order that loads.
        workers: threads for fits and contours.
        budget_ms: time from the last image of a slice to its result, which then goes out unfinished. A series
            that was held back has half of it at least from then on.
        review_below: expected Dice below which a slice is flagged for review (``docs/calibration.md``).
        weights: folder of weights; None for those of the package.
    """

    server: ServerSettings = ServerSettings()
    assembly: AssemblySettings = AssemblySettings()
    mapping: MappingSettings = MappingSettings()
    contours: ContourSettings = ContourSettings()
    regions: RegionSettings = RegionSettings()
    ecv: EcvSettings = EcvSettings()
    reference: ReferenceSettings = ReferenceSettings()
    emit: EmitSettings = EmitSettings()
    dicom: DicomSettings = DicomSettings()
    log: LogSettings = LogSettings()
    monitor: MonitorSettings = MonitorSettings()
    engine: EngineName = "auto"
    workers: int = Field(2, ge=1, le=64)
    budget_ms: float = Field(3000.0, gt=0, le=3_600_000)
    review_below: float = Field(0.84, ge=0, le=1)
    weights: _Path | None = None


class _Environment(Settings, BaseSettings):
    """Names of the settings in the environment: ``MYOSTREAM_SERVER__PORT`` is ``server.port``.

    Names without a setting are passed over, unless they are misspelt: Kubernetes gives each container
    variables such as ``MYOSTREAM_SERVICE_HOST`` for a service of the name myostream.
    """

    model_config = SettingsConfigDict(
        env_prefix="MYOSTREAM_", env_nested_delimiter="__", env_ignore_empty=True
    )


def load_settings(file: str | Path | None = None, **command_line: Any) -> Settings:
    """Return the settings: the defaults, over them a file, the environment, and the command line.

    Relative paths in the file are taken from its own folder, others from the current one.

    Args:
        file: TOML file; None for the one that the environment variable ``MYOSTREAM_SETTINGS`` names, if any.
        command_line: values by name, those of a section as a dict (``server={"port": 9003}``); None leaves
            what file and environment say.

    Raises:
        ConfigurationError: the file cannot be read, or a setting is unknown or out of range; it names each.
    """
    if misspelt := _misspelt_variables():
        raise ConfigurationError("; ".join(misspelt))
    if file is None and os.environ.get("MYOSTREAM_SETTINGS"):
        file = Path(os.environ["MYOSTREAM_SETTINGS"])
    if file is not None:
        file = Path(file)
    try:
        environment = EnvSettingsSource(_Environment)()
    except SettingsError as error:
        raise ConfigurationError(f"a setting in the environment is not valid JSON: {error}") from error
    stated = _read(file) if file else {}
    # Numbers and truth values of variables are texts.
    wrong = (
        _mistyped(stated, (bool, str))
        | _mistyped(environment, (bool,))
        | _mistyped(_over({}, command_line), (bool, str))
    )
    try:
        settings = Settings.model_validate(_over(_over(stated, environment), command_line))
    except ValidationError as error:
        wrong = {
            each["loc"]: _wrong(each["loc"], each["type"], each["msg"]) for each in error.errors()
        } | wrong
    if wrong:
        where = f" in {file}" if file else ""
        raise ConfigurationError(
            f"settings{where} cannot be used: {' '.join('; '.join(wrong.values()).split())}"
        )
    return settings


def _mistyped(content: Mapping[str, Any], kinds: tuple[type, ...]) -> dict[tuple[int | str, ...], str]:
    """Return, by place, an error for each number or truth value that is stated as a value of these types."""
    try:
        # Strict validation of JSON takes texts for paths, addresses and levels. Objects that JSON does not
        # have, such as paths and numbers of numpy, are neither texts nor truth values.
        Settings.model_validate_json(json.dumps(content, default=lambda _: None, skipkeys=True), strict=True)
    except ValidationError as error:
        return {
            each["loc"]: _wrong(each["loc"], each["type"], f"{each['msg']}, not {json.dumps(each['input'])}")
            for each in error.errors()
            if each["type"] in ("int_type", "float_type", "bool_type") and isinstance(each["input"], kinds)
        }
    return {}


def _misspelt_variables() -> list[str]:
    """Return an error on each variable of the environment whose name is nearly that of a setting.

    Sections are not compared: variables such as ``MYOSTREAM_USER`` or ``MYOSTREAM_REGION`` may be of others.
    """
    names = [name.replace(".", "__").upper() for name in _names(Settings)] + ["SETTINGS", "CACHE"]
    sections = {name.partition("__")[0] for name in names if "__" in name}
    single = [name for name in names if name not in sections]
    errors = []
    for variable, value in os.environ.items():
        prefix, _, name = variable.upper().partition("MYOSTREAM_")
        # Unknown names within a section are found with the settings of files.
        if prefix or not name or any(name == each or name.startswith(f"{each}__") for each in names):
            continue
        if _KUBERNETES.search(variable.upper()) or (name.endswith("_PORT") and _SERVICE.match(value)):
            continue
        # Without the prefix, which would make any two names similar.
        if close := difflib.get_close_matches(name, single, 1, _MISSPELT):
            errors.append(f"the variable {variable} is no setting; did you mean MYOSTREAM_{close[0]}?")
    return errors


def _read(file: Path) -> dict[str, Any]:
    """Return what a settings file states, with its relative paths taken from its folder."""
    try:
        # Windows editors put a byte order mark in front.
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
        return _with_paths_from(file.absolute().parent, content)
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"the settings file {file} is not UTF-8: {error}; save it as UTF-8"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"the settings file {file} cannot be read: {error}") from error


def _with_paths_from(
    folder: Path, content: Mapping[str, Any], model: type[BaseModel] = Settings
) -> dict[str, Any]:
    """Return settings of ``model`` whose relative paths are taken from a folder."""
    made = dict(content)
    for name, field in model.model_fields.items():
        value, kind = made.get(name), field.annotation
        if kind == _Path | None and isinstance(value, str) and value:
            made[name] = str(folder / value)
        elif isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, Mapping):
            made[name] = _with_paths_from(folder, value, kind)
    return made


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the values of ``above`` over it, section by section.

    A section of ``below`` that is none stays as it is, and is reported with all else that is wrong.
    """
    content = dict(below)
    for name, value in above.items():
        if isinstance(value, Mapping):
            section = content.get(name, {})
            content[name] = _over(section, value) if isinstance(section, Mapping) else section
        elif value is not None:
            content[name] = value
    return content


def _wrong(place: tuple[int | str, ...], kind: str, problem: str) -> str:
    """Return an error of a setting with its name, and its variable where the environment has that."""
    name, variable = ".".join(map(str, place)), "MYOSTREAM_" + "__".join(map(str, place)).upper()
    stated = f" ({variable})" if any(each.upper() == variable for each in os.environ) else ""
    if kind == "tuple_type" and name in _TABLES:
        return f"{name}{stated}: it is a list of tables; write [[{name}]] above each of them"
    if kind != "extra_forbidden":
        return f"{name}{stated}: {problem.removeprefix('Value error, ')}"
    missing, known = f"there is no setting {name!r}{stated}", list(_names(Settings))
    section, _, last = name.rpartition(".")
    if section and last in known and not any(each.startswith(f"{last}.") for each in known):
        return f"{missing}; did you mean {last!r}, above all sections?"
    beside = [each.removeprefix(f"{section}.") for each in known if each.startswith(f"{section}.")]
    table, header = section.rpartition(".")[0], f"[{section}]"
    if table in _TABLES:
        beside, header = list(_TABLES[table].model_fields), f"[[{table}]]"
    if section and beside:  # the name of the section would make any two names similar
        close = [f"{section}.{each}" for each in difflib.get_close_matches(last, beside, 1)]
        others = f"; {header} has {', '.join(beside)}"
    else:
        # A setting of a section, stated without it, is closer to its name than any spelling.
        close = [each for each in known if each.endswith(f".{name}")]
        close, others = close or difflib.get_close_matches(name, known, 1), ""
    return missing + (f"; did you mean {close[0]!r}?" if close else others)


def _names(model: type[BaseModel]) -> Iterator[str]:
    """Yield the names of all sections and settings."""
    for name, field in model.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{name}.{each}" for each in _names(field.annotation))
