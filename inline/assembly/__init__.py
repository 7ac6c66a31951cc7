"""From a stream of images to complete mapping series, slice by slice (``docs/series.md``)."""
