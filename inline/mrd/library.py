"""What is used of the ISMRMRD library, imported without its change of the warning filters of the program."""

import warnings

with warnings.catch_warnings():
    import ismrmrd.xsd as xsd
    from ismrmrd.hdf5 import image_header_dtype

__all__ = ["image_header_dtype", "xsd"]
