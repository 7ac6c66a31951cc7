"""Sans-IO code of the MRD (ISMRMRD) wire protocol: bytes in, messages out, and back."""
