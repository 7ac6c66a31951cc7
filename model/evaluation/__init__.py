"""Labelled images, and the agreement of labels."""
