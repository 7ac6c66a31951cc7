"""The study's tables and figures for any labelled slices (Kalapos et al. 2023)."""
