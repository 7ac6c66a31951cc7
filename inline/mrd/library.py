"""Names of the ISMRMRD library that are used; the import keeps the warning filters of the program."""

import warnings

with warnings.catch_warnings():
    import ismrmrd.xsd as xsd
    from ismrmrd.hdf5 import image_header_dtype

__all__ = ["image_header_dtype", "xsd"]
