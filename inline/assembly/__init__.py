"""Assembly of a stream of images into complete mapping series, slice by slice (``docs/series.md``)."""
