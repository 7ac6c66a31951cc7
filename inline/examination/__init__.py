"""Examination: pairs of native and post-contrast T1, their registration, and ECV."""
