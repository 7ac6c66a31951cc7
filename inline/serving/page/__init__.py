"""Live page: results in a browser beside the scanner, from a process of its own (``docs/page.md``)."""
