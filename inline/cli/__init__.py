"""Command line: commands of what runs beside the scanner, their options and error messages."""
