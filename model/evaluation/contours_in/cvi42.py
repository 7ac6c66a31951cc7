"""Circle cvi42 workspaces as XML (``.cvi42wsx``).

After the public parser baiwenjia/ukbb_cardiac, data/parse_cvi42_xml.py (TinySpins/Contour42 is a fork of
it). Below an element with ``Hash:key="ImageStates"`` each element is keyed by the SOP instance UID of an
image. Its ``Contours`` are keyed by name, with ``Points`` (``Point:x``, ``Point:y``) and
``SubpixelResolution``, by which the points are divided. ``saendocardialContour`` and ``saepicardialContour``
are the short-axis contours of the left ventricle. The parser's results are drawn as they are: whole numbers
are pixel centres.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn
from xml.parsers import expat

from model.evaluation.contours_in.outlines import MapImage, Outlines, checked
from model.evaluation.errors import CaseError
from model.xml import guarded_parser

ENDO: Final = "saendocardialContour"
EPI: Final = "saepicardialContour"
_LARGEST: Final = 1 << 30
"""Bytes of a workspace that are read."""
_DEEPEST: Final = 256
_MOST_POINTS: Final = 1 << 22
_LONGEST: Final = 64
"""Characters of a number."""


@dataclass(slots=True)
class _Drawn:
    """Contour as it is stored."""

    points: list[tuple[float, float]] = field(default_factory=list)
    resolution: float = 1.0


@dataclass(slots=True)
class _Workspace:
    """Handlers of the parser; holds contours alone, not the document.

    Attributes:
        contours: by image and name.
    """

    path: Path
    contours: dict[tuple[str, str], _Drawn] = field(default_factory=dict)
    _keys: list[str] = field(default_factory=list)
    _current: _Drawn | None = None
    _text: str = ""
    _x: float | None = None
    _left: int = _MOST_POINTS

    def start(self, _: str, attributes: dict[str, str]) -> None:
        self._keys.append(attributes.get("Hash:key", ""))
        self._text = ""
        if len(self._keys) > _DEEPEST:
            raise CaseError(f"{self.path} is nested deeper than {_DEEPEST} elements")

    def data(self, text: str) -> None:
        if len(self._text) <= _LONGEST:
            self._text += text

    def end(self, name: str) -> None:
        local = name.rpartition(":")[2]
        key = self._keys[-1]
        if local in ("x", "y"):
            self._coordinate(local)
        elif key == "SubpixelResolution" and (drawn := self._drawn()) is not None:
            drawn.resolution = self._number()
            if drawn.resolution <= 0.0:
                raise CaseError(f"{self.path}: a SubpixelResolution is {drawn.resolution:g}")
        elif key in (ENDO, EPI):
            self._keep()
        self._keys.pop()
        self._text = ""

    def _coordinate(self, axis: str) -> None:
        drawn = self._drawn() if "Points" in self._keys else None
        if drawn is None:
            return
        if axis == "x":
            self._x = self._number()
        elif self._x is not None:
            self._left -= 1
            if self._left < 0:
                raise CaseError(f"{self.path} has more than {_MOST_POINTS} points")
            drawn.points.append((self._x, self._number()))
            self._x = None

    def _drawn(self) -> _Drawn | None:
        """Return the contour that the current element belongs to, of a left ventricle in short axis."""
        if self._place() is None:
            return None
        self._current = self._current or _Drawn()
        return self._current

    def _keep(self) -> None:
        """Keep the contour whose element ends, if it has points; an image may stand twice in a workspace."""
        place, drawn = self._place(), self._current
        self._current = None
        if place is None or drawn is None or not drawn.points:
            return
        if _pixels(self.contours.setdefault(place, drawn)) != _pixels(drawn):
            raise CaseError(
                f"{self.path} has two different contours {place[1]} of image {place[0]}: keep one"
            )

    def _place(self) -> tuple[str, str] | None:
        """Return image and name of the contour that the current element belongs to."""
        keys = [key for key in self._keys if key]
        if "ImageStates" not in keys:
            return None
        below = keys[keys.index("ImageStates") + 1 :]
        if len(below) < 3 or below[1] != "Contours" or below[2] not in (ENDO, EPI):
            return None
        return below[0], below[2]

    def _number(self) -> float:
        try:
            return float(self._text)
        except ValueError as error:
            raise CaseError(f"{self.path}: {self._text[:_LONGEST]!r} is no coordinate") from error


def read_cvi42(path: Path) -> dict[str, Outlines]:
    """Return the contours of the left ventricle by the SOP instance UID of their image.

    Images with one of the two contours alone are left out.

    Raises:
        CaseError: it cannot be read, is no such XML, or declares a document type or entities.
    """

    def refuse() -> NoReturn:
        raise CaseError(
            f"{path} declares a document type or entities, which no workspace does; it is refused"
        )

    workspace = _Workspace(path)
    parser = guarded_parser(refuse)
    parser.StartElementHandler = workspace.start
    parser.EndElementHandler = workspace.end
    parser.CharacterDataHandler = workspace.data
    try:
        if path.stat().st_size > _LARGEST:
            raise CaseError(f"{path} is larger than {_LARGEST} bytes")
        with path.open("rb") as opened:
            parser.ParseFile(opened)
    except (OSError, expat.ExpatError, LookupError, ValueError) as error:
        raise CaseError(
            f"{path} is no cvi42 workspace in XML ({error}); export it as Cvi42 XML Workspace (.cvi42wsx)"
        ) from error
    images = dict.fromkeys(uid for uid, _ in workspace.contours)
    return {
        uid: checked(path, *(_pixels(workspace.contours[uid, name]) for name in (ENDO, EPI)))
        for uid in images
        if all((uid, name) in workspace.contours for name in (ENDO, EPI))
    }


def cvi42_outlines(path: Path, image: MapImage) -> Outlines | None:
    """Return the contours that a workspace has for a map or one of its weighted images; None without any.

    Raises:
        CaseError: it cannot be read, or has different contours for several of these images.
    """
    found = [outlines for uid, outlines in read_cvi42(path).items() if uid in image.instances]
    if not image.instances:
        raise CaseError(
            f"{path} names images by UID; {image.file} is no DICOM file, so none can be found in it"
        )
    different = {(each.endo.tobytes(), each.epi.tobytes()) for each in found}
    if len(different) > 1:
        raise CaseError(f"{path} has different contours on {len(found)} images of {image.file.parent}")
    return found[0] if found else None


def _pixels(drawn: _Drawn) -> list[tuple[float, float]]:
    return [(x / drawn.resolution, y / drawn.resolution) for x, y in drawn.points]
