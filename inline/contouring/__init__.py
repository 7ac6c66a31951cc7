"""Contours of the left ventricle, AHA regions, slice level and confidence.

``inline.pipeline`` uses the modules in this order:

- ``segment``: labels, contours and insertion points of a network output, with ``contours`` and ``insertion``,
- ``convention``: the contours as readers draw them,
- ``slice_level``: the level between base and apex,
- ``septum``: the direction from which angles count,
- ``regions``: the values of ring, septum and segments; ``aha_segments`` has their names,
- ``plausibility``: checks of these values and of the map; ``blood``: T1 of the cavity,
- ``confidence``: the expected agreement of the contours; ``explanation``: why it is low.
"""
