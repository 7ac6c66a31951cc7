"""Output in the terminal: results, tables, sentences; text of peers with control characters as escapes."""
