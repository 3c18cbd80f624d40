"""Dataset checks: unreadable files, duplicates, leaks and suggestions."""
