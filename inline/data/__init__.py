"""Values that pass between the stages: series, geometry, results, flags, errors."""
