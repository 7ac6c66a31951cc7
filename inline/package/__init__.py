"""Packages that run myostream on the host of a scanner: OpenRecon and FIRE (``docs/openrecon.md``)."""
