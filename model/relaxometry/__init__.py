"""T1 and T2 fits of MOLLI and T2-prepared series."""
