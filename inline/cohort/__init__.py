"""Cohorts: the examinations below a folder, processed by many workers on Dask distributed."""
