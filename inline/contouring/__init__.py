"""Contours of the left ventricle, AHA regions, slice level and confidence."""
