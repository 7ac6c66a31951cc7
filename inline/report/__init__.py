"""Report of an examination: one page with maps, bull's-eyes, values, flags in words and provenance."""
