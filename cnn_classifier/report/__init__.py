"""From arrays of answers to numbers, tables and pictures; nothing here needs torch."""
