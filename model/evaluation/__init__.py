"""Labelled images, and how well labels agree."""
