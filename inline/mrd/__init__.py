"""The MRD (ISMRMRD) wire protocol without sockets: bytes in, messages out, and back."""
