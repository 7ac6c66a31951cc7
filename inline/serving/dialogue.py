"""Dialogue with one peer, without sockets, threads or clock: messages in, decisions out."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from inline.data.client_text import for_log, foreign, message
from inline.data.errors import ProtocolError
from inline.emit.originals import returned
from inline.mrd.header import MeasurementHeader, digest, parse_header
from inline.mrd.messages import (
    Acquisition,
    ConfigFile,
    ConfigText,
    Header,
    Image,
    Message,
    Text,
    Waveform,
)
from inline.mrd.text import parse_xml
from inline.serving.configuration import OPENRECON, Configuration
from inline.serving.dialect import CHAIN, CLIENT, UNKNOWN, Dialect, Severity, text_message
from inline.serving.parameters import (
    CONFIGURATION_KEYS,
    OF_PATIENT,
    overridden,
    parameter_name,
    read_parameters,
    with_haematocrit,
    with_parameters,
)
from inline.serving.studies import same_patient
from inline.settings import Settings

_log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*")
"""Name of a configuration, which begins as :func:`~inline.serving.dialect.takes_texts` expects."""
_ANOTHER: Final = (
    "a header without UIDs that differs from the one before is taken for another examination; "
    "state studyInstanceUID, for ECV and levels from the series of both"
)
_AFTER_IMAGES: Final = (
    "the header came after the first images: these were taken without one, as another measurement; send it "
    "before them"
)


@dataclass(frozen=True, slots=True)
class Forward:
    """A message of the peer goes back to it."""

    message: Image | Header | Acquisition | Waveform


@dataclass(frozen=True, slots=True)
class Withhold:
    """An image does not go back to the peer, by the setting ``emit.originals``."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A measurement begins; the series of the one before are complete."""

    header: MeasurementHeader


@dataclass(frozen=True, slots=True)
class Assemble:
    """An image belongs to a series of the measurement."""

    image: Image


@dataclass(frozen=True, slots=True)
class Reject:
    """A message is neither forwarded nor worked on."""

    message: Acquisition | Waveform


Decision = Forward | Withhold | Text | Begin | Assemble | Reject
"""Decision on a message; a text goes to the peer."""


class Dialogue:
    """Configuration, parameters and dialect of one connection, and the decision on each of its messages.

    Each method that returns decisions is a generator: carry out each decision before taking the next one.

    Attributes:
        settings: of the connection: those of the program with the parameters of the client.
        measurement: header of the images that follow; None before the first header.
        haematocrit_stated: the haematocrit of the settings, or that there is none, comes from the client.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        name: str = "client",
        dialect: Dialect = UNKNOWN,
        configuration: Configuration | None = None,
    ) -> None:
        """Begin.

        Args:
            settings: of the program.
            name: of the peer, for the log.
            dialect: of the peer, where it is known; else the first message of the peer decides.
            configuration: in place of the one that the peer requests.
        """
        self.settings = self._program = settings
        self.measurement: MeasurementHeader | None = None
        self._name = name
        self._dialect = dialect
        self._dialect_fixed = dialect is not UNKNOWN
        self._header_due = dialect.header
        self._configuration = configuration or Configuration.MAPPING
        self._configuration_fixed = configuration is not None
        self._assembling = False
        self._raw_data_reported = False
        self._haematocrit = settings.ecv.haematocrit
        self.haematocrit_stated = False
        self._haematocrit_due = False
        self._another_reported = False

    def receive(self, message: Message) -> Iterator[Decision]:
        """Decide on a message of the peer."""
        match message:
            case Image():
                yield from self._image(message)
            case ConfigFile(name):
                # Only MRD clients name a file.
                self._recognise(CLIENT)
                yield from self._configure(name)
            case ConfigText(text):
                yield from self._configure_by_text(text.strip())
            case Header(xml):
                if self._header_due:
                    self._header_due = False
                    yield Forward(message)
                yield from self._header(xml)
            case Text(text):
                if self._dialect is UNKNOWN:
                    self._recognise(CLIENT)
                # Scanners send JSON parameters after the header; any other text is logged alone.
                if text.lstrip().startswith(("{", "[")):
                    yield from self._set(read_parameters, text.strip())
                else:
                    _log.info("%s says: %s", self._name, self.loggable(foreign(text.strip())))
            case Acquisition() | Waveform():
                yield from self._raw(message)

    def say(self, text: str, severity: Severity = Severity.NORMAL) -> Iterator[Text]:
        """Send a text to the person behind the peer, where the peer takes texts."""
        if self._dialect.texts:
            yield text_message(severity, text)

    def warn(self, problem: str) -> Iterator[Text]:
        """Report in log and text a problem that the stream survives."""
        _log.warning("%s: %s", self._name, self.loggable(problem))
        yield from self.say(problem, Severity.WARNING)

    def loggable(self, text: str) -> str:
        """Return the form of a text for the log, which by default holds nothing that a client sent."""
        return for_log(text, foreign_text=self.settings.log.foreign_text)

    def _recognise(self, dialect: Dialect) -> None:
        if not self._dialect_fixed:
            self._dialect = dialect

    def _image(self, image: Image) -> Iterator[Decision]:
        self._header_due = False
        originals = self.settings.emit.originals
        if originals == "none" and self._configuration is Configuration.PASSTHROUGH:
            originals = "as-is"
        back: Image | None = image
        try:
            back = returned(image, originals)
        except Exception:  # an image passes whatever its attributes are
            _log.exception("%s: the attributes of an image were not changed", self._name)
        yield Withhold() if back is None else Forward(back)
        if self._configuration is Configuration.MAPPING:
            self._assembling, self._haematocrit_due = True, False
            yield Assemble(image)

    def _header(self, xml: str) -> Iterator[Decision]:
        try:
            measurement = parse_header(xml)
        except ProtocolError as error:
            # Clients that have no header send a line of text in its place.
            why = self.loggable(error.message)
            _log.info("%s: no MRD header (%s); going on without one", self._name, why)
            if xml.lstrip().startswith("<") or not "".join(xml.split()).isprintable():
                yield from self.say(f"{error}; the images are taken without a header", Severity.WARNING)
            unread = digest([xml.strip()])
            measurement = MeasurementHeader(patient=unread, content=unread)
        if self.measurement is None or measurement.content != self.measurement.content:
            yield Begin(measurement)
            same = same_patient(measurement, self.measurement or MeasurementHeader())
            unlike = self.measurement is None or not (same or any(measurement.uids))
            if self._assembling and unlike and not self._another_reported:
                self._another_reported = True
                yield from self.warn(_AFTER_IMAGES if self.measurement is None else _ANOTHER)
            if not (self._haematocrit_due or same):
                # It was sent for the patient of the header before.
                self.settings = with_haematocrit(self.settings, self._haematocrit)
                self.haematocrit_stated = False
            self.measurement, self._assembling = measurement, False
        self._haematocrit_due = False

    def _raw(self, message: Acquisition | Waveform) -> Iterator[Decision]:
        if self._dialect.raw:
            self._header_due = False
            yield Forward(message)
            return
        yield Reject(message)
        if isinstance(message, Acquisition) and not self._raw_data_reported:
            self._raw_data_reported = True
            yield from self.say("raw data is not reconstructed here; send images", Severity.ERROR)

    def _configure(self, name: str) -> Iterator[Decision]:
        """Take a configuration by its name; nothing that a client names is ever imported or opened."""
        if self._configuration_fixed:
            return
        wanted = name.strip().removesuffix(".xml")
        try:
            self._configuration = Configuration(Configuration.MAPPING if wanted == OPENRECON else wanted)
        except ValueError:
            self._configuration = Configuration.MAPPING
            known = ", ".join(Configuration)
            named = foreign(wanted, shown=repr(wanted[:80]))
            yield from self.warn(message("there is no configuration {} ({}); mapping is used", named, known))

    def _configure_by_text(self, text: str) -> Iterator[Decision]:
        """Take a configuration sent as text: a name, JSON parameters, or Gadgetron's XML."""
        if text == "null" or text.startswith("{"):
            self._recognise(CLIENT)
            yield from self._set(read_parameters, text)
        elif _NAME.fullmatch(text):
            self._recognise(CLIENT)
            yield from self._configure(text)
        elif text.startswith("<"):
            # Only Gadgetron opens with XML. Its DICOM writer ends the chain at an RGB image.
            self._recognise(CHAIN)
            if self._dialect is CHAIN:
                self.settings, _ = with_parameters(self.settings, {"overlay": False, "report": False})
            yield from self._set(_attributes, text)
        else:
            _log.warning(
                "%s: a configuration text that is neither name, JSON nor XML is not read", self._name
            )

    def _set(self, read: Callable[[str], Mapping[str, object]], text: str) -> Iterator[Decision]:
        """Take the values that ``read`` finds in a text; ``customconfig``, where not empty, is preferred."""
        try:
            given = read(text)
        except ProtocolError as error:
            yield from self.warn(error.message)
            return
        for key in CONFIGURATION_KEYS:
            name = given.get(key)
            if name is None:
                continue
            if not isinstance(name, str):
                yield from self.warn(f"parameter {key} is no text")
            elif name.strip():
                yield from self._configure(name)
                break
        rest = {name: value for name, value in given.items() if name not in CONFIGURATION_KEYS}
        settings, problems = with_parameters(self.settings, rest)
        if self._assembling and settings.assembly != self.settings.assembly:
            settings = settings.model_copy(update={"assembly": self.settings.assembly})
            problems.append("parameter motion came after the first image; send it before")
        for problem in problems:
            yield from self.warn(problem)
        names = list(filter(None, map(parameter_name, rest)))
        if not OF_PATIENT.isdisjoint(names):
            self.haematocrit_stated = True
            # Before the first header, or after images, it is sent for the header that comes next.
            self._haematocrit_due = self.measurement is None or self._assembling
        if settings != self.settings:
            _log.info("%s sets %s", self._name, ", ".join(names))
        self.settings = settings
        for note in overridden(self._program, settings, names):
            _log.info("%s: %s", self._name, note)
            yield from self.say(note)


def _attributes(xml: str) -> dict[str, object]:
    """Return the attributes of the element ``myostream`` of a chain's configuration, if there is one."""
    element = parse_xml(xml, "the configuration").find(".//myostream")
    return {} if element is None else dict(element.attrib)
