"""Replay of MRD files and of synthetic examinations through a server."""
