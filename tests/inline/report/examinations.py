"""Results of examinations without a network: rings with known values."""

from dataclasses import replace

import numpy as np

from inline.contouring.regions import measure
from inline.contouring.septum import angular_reference
from inline.data.examination import EcvRegion, EcvResult, Examination, Haematocrit, HaematocritSource
from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import ContourOffsets, Contours, InsertionPoint, Insertions, SliceLevel, SliceResult
from inline.data.series import Enhancement, Quantity, SeriesIdentity
from model.relaxometry.parametric_map import ParametricMap
from tests.shapes import circle

SIZE = 128
WALL = {("T1", "native"): 1030.0, ("T1", "post-contrast"): 480.0, ("T1", None): 990.0, ("T2", None): 48.0}
SERIES = {("T1", "native"): 1, ("T1", "post-contrast"): 3, ("T1", None): 1, ("T2", None): 2}


def make_slice(number=0, quantity="T1", enhancement="native", level="mid", z=None, at_mm=None, **changes):
    """A ring of one value in the middle of a slice; ``z`` is the z-score of its regions."""
    kind = (quantity, enhancement)
    y, x = np.mgrid[:SIZE, :SIZE]
    away = np.hypot(x - 64.0, y - 60.0)
    values = np.where(away < 26.0, WALL[kind] + 0.0 * x, 0.4 * WALL[kind]).astype(np.float32)
    values[away < 17.0] = 1.5 * WALL[kind]
    values[away > 60.0] = 0.0
    contours = Contours(circle(18.0, (64.0, 60.0)), circle(25.0, (64.0, 60.0)))
    position = (0.0, 0.0, 20.0 * number if at_mm is None else at_mm)
    oriented = Flag.NO_ORIENTATION not in changes.get("flags", ())
    geometry = SliceGeometry(
        position, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.5, 1.5), (SIZE, SIZE), oriented=oriented
    )
    parametric = ParametricMap.of_values(values)
    regions = measure(parametric, contours, SliceLevel(level), angular_reference(geometry, 160.0))
    if z is not None:
        regions = tuple(replace(each, z_score=z) for each in regions)
    result = SliceResult(
        identity=SeriesIdentity(SERIES[kind], number, f"{quantity}map", 100 + number),
        quantity=Quantity(quantity),
        geometry=geometry,
        map=parametric,
        scanner_made=False,
        labels=np.zeros((SIZE, SIZE), np.uint8),
        contours=contours,
        insertions=Insertions(InsertionPoint(46.0, 50.0, 0.9), InsertionPoint(46.0, 72.0, 0.9)),
        regions=regions,
        level=SliceLevel(level),
        confidence_source="calibrated for weights 0123456789ab",
        offsets=ContourOffsets(1.5, 1.5),
        enhancement=None if enhancement is None else Enhancement(enhancement),
        field_strength=1.5,
    )
    return replace(result, **changes)


def make_ecv(native, haematocrit=0.4, source="given", **changes):
    """ECV of a slice whose partition coefficient is 0.45 everywhere."""
    known = None if haematocrit is None else Haematocrit(haematocrit, HaematocritSource(source))
    percent = None if known is None else 45.0 * (1.0 - known.value)
    regions = tuple(
        EcvRegion(
            each.name,
            *[percent] * 4,
            sd=2.0,
            pixels=each.pixels,
            standard_error=0.8,
            partition_coefficient=0.45,
            partition_standard_error=0.01,
        )
        for each in native.regions
    )
    shape = native.geometry.shape
    result = EcvResult(
        native=native.identity,
        post=native.identity,
        geometry=native.geometry,
        level=native.level,
        haematocrit=known,
        partition=np.full(shape, 0.45, np.float32),
        valid=~native.map.failed,
        contours=native.contours,
        regions=regions,
    )
    return replace(result, **changes)


def make_examination(levels=("basal", "mid", "apical"), z=None, haematocrit=0.4):
    """Native and post-contrast T1, ECV and T2 of a slice of each level."""
    kinds = (("T1", "native"), ("T1", "post-contrast"), ("T2", None))
    slices = [make_slice(n, *kind, level, z) for n, level in enumerate(levels) for kind in kinds]
    native = [each for each in slices if each.enhancement is Enhancement.NATIVE]
    return Examination(tuple(slices), tuple(make_ecv(each, haematocrit) for each in native))
