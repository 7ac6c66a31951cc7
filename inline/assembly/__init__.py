"""Assembly of a stream of images into complete mapping series, slice by slice (``docs/series.md``).

``assembler`` takes one image after another and returns the slices that are complete. It uses, in this order:

- ``image_metadata``: the attributes of an image (``dicom_json``, ``minihead``); ``recognition`` by its names,
- ``group``: the images of a slice so far,
- ``repetition``: whether an image of the same slice begins another series,
- ``expected``: the number of images of a complete series,
- ``assemble``: the series of a group, with ``geometry``, ``timing``, ``completeness`` and ``pixels``; its
  types are in ``assembled``,
- ``twins``: the series as acquired and motion-corrected, of which one goes on,
- ``account``: the reasons why images made no map.
"""
