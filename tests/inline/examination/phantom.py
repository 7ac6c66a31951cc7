"""Analytic phantom: a round left ventricle with papillary muscles, before and after contrast agent."""

import numpy as np

from inline.contouring.blood import blood_t1, enhancement_by_blood
from inline.data.geometry import SliceGeometry
from inline.data.results import Contours, InsertionPoint, Insertions, SliceLevel, SliceResult
from inline.data.series import Quantity, SeriesIdentity
from inline.examination.ecv import ecv_of_pair
from inline.examination.examine import examine
from inline.examination.pairing import Pair
from inline.reference import ReferenceRanges
from inline.settings import EcvSettings, RegionSettings
from model.relaxometry.parametric_map import ParametricMap
from tests.shapes import circle

SHAPE = (128, 120)
SPACING = (1.5, 1.5)
CENTRE = (60.0, 62.0)
ENDO, EPI = 15.0, 22.0
"""Radii in pixels."""
NATIVE, NATIVE_BLOOD, POST_BLOOD = 1000.0, 1600.0, 320.0
"""T1 in ms."""
OUTSIDE = 1300.0
KNOWN = EcvSettings(haematocrit=0.42)
REGIONS, NO_RANGES = RegionSettings(), ReferenceRanges()
AXES = ((0.6, 0.8, 0.0), (0.0, 0.0, -1.0))


def post_t1(partition, native=NATIVE):
    """T1 of tissue after contrast agent by its partition coefficient."""
    return 1.0 / (1.0 / native + partition * (1.0 / POST_BLOOD - 1.0 / NATIVE_BLOOD))


def t1_slice(
    *,
    post=False,
    partition=0.46,
    shift=(0.0, 0.0),
    turn=0.0,
    noise=0.0,
    contour_error=(0.0, 0.0),
    partition_at=None,
    papillary=True,
    seed=0,
    **more,
):
    """A slice; ``shift`` (pixels) and ``turn`` (degrees) move the heart, ``contour_error`` only its contours.

    ``partition_at``: function of x and y from the centre of the unmoved heart, in pixels.
    """
    rows, columns = SHAPE
    y, x = np.mgrid[:rows, :columns].astype(float)
    centre = np.array(CENTRE) + shift
    u, v = x - centre[0], y - centre[1]
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    u, v = cos * u + sin * v, -sin * u + cos * v
    radius = np.hypot(u, v)
    inside_endo, inside_epi = (np.clip(r + 0.5 - radius, 0.0, 1.0) for r in (ENDO, EPI))
    lumps = sum((np.hypot(u - a, v - b) < 3.0).astype(float) for a, b in ((6.0, 7.0), (6.0, -7.0)))
    muscle = inside_epi - inside_endo + inside_endo * (lumps if papillary else 0.0)
    blood = inside_endo * (1.0 - (lumps if papillary else 0.0))
    lambdas = np.full(SHAPE, partition) if partition_at is None else partition_at(u, v)
    tissue = post_t1(lambdas) if post else np.full(SHAPE, NATIVE)
    outside = post_t1(0.3, OUTSIDE) if post else OUTSIDE
    values = muscle * tissue + blood * (POST_BLOOD if post else NATIVE_BLOOD) + (1.0 - inside_epi) * outside
    random = np.random.default_rng(seed + 100 * post)
    sd = noise * values
    values = values + sd * random.standard_normal(SHAPE)
    nothing = np.zeros(SHAPE, np.float32)
    parametric = ParametricMap(
        values.astype(np.float32), sd.astype(np.float32), nothing + 1, np.zeros(SHAPE, bool)
    )
    drawn = centre + contour_error
    contours = Contours(circle(ENDO, drawn), circle(EPI, drawn))
    angles = np.radians(np.array([240.0, 120.0]) + turn)
    points = [InsertionPoint(*(drawn + EPI * np.array([np.cos(a), np.sin(a)])), 0.9) for a in angles]
    blood_value = blood_t1(parametric, contours, SPACING)
    known, source = enhancement_by_blood(blood_value)
    fields = {
        "identity": SeriesIdentity(2 if post else 1, 0, "", 2000 if post else 1000),
        "quantity": Quantity.T1,
        "geometry": SliceGeometry((10.0, -20.0, 30.0), *AXES, SPACING, SHAPE),
        "map": parametric,
        "scanner_made": False,
        "labels": np.zeros(SHAPE, np.uint8),
        "contours": contours,
        "insertions": Insertions(*points),
        "level": SliceLevel.MID,
        "enhancement": known,
        "enhancement_source": source,
        "blood": blood_value,
    }
    return SliceResult(**{**fields, **more})


def ecv_of(native, post, settings=KNOWN, ranges=NO_RANGES):
    return ecv_of_pair(Pair(native, post, "blood T1"), settings, REGIONS, ranges)


def examined(results, settings=KNOWN):
    return examine(results, settings, REGIONS, NO_RANGES)
