"""Readers of the contours that other programs write.

Each module states the public description that it follows. Whether a genuine file was at hand is in
``docs/data.md``.
"""
