"""A ring of myocardium and the usual view of it, for the tests of septum, segments and regions."""

import numpy as np

from inline.data.geometry import SliceGeometry
from inline.data.results import Contours, InsertionPoint, Insertions
from model.relaxometry.parametric_map import ParametricMap
from tests.shapes import circle

SHAPE = (120, 120)
TO_APEX = np.array([0.62, -0.60, -0.50]) / np.linalg.norm([0.62, -0.60, -0.50])
RING = Contours(circle(20, 60.0), circle(30, 60.0))
UNORIENTED = SliceGeometry.unoriented((1.5, 1.5), SHAPE)
ROWS, COLUMNS = np.mgrid[: SHAPE[0], : SHAPE[1]]


def usual_short_axis():
    """A short axis as the reading software shows it: septum on the left, anterior wall on top."""
    septum = np.array([-1.0, -1.0, 0.0])
    septum -= (septum @ TO_APEX) * TO_APEX
    septum /= np.linalg.norm(septum)
    down = np.cross(TO_APEX, septum)
    return SliceGeometry((0.0, 0.0, 0.0), tuple(-septum), tuple(down), (1.5, 1.5), SHAPE)


def ring_map(values):
    return ParametricMap(
        values.astype(np.float32),
        np.zeros(SHAPE, np.float32),
        np.ones(SHAPE, np.float32),
        np.zeros(SHAPE, bool),
    )


def by_name(regions):
    return {region.name: region for region in regions}


def shown(degrees, turned, mirrored, radius=30.0):
    """Pixel (x, y) in another view of a place of the usual one, degrees anticlockwise from the right."""
    x, y = radius * np.cos(np.radians(degrees)), -radius * np.sin(np.radians(degrees))
    x = -x if mirrored else x
    angle = np.radians(turned)
    return 60.0 + x * np.cos(angle) - y * np.sin(angle), 60.0 + x * np.sin(angle) + y * np.cos(angle)


def points_at(anterior, inferior, turned=0, mirrored=False):
    return Insertions(
        InsertionPoint(*shown(anterior, turned, mirrored), 0.9),
        InsertionPoint(*shown(inferior, turned, mirrored), 0.8),
    )
