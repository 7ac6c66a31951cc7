"""DICOM node: receives series by C-STORE, processes them, and delivers the results to its destinations."""
