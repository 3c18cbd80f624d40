"""Safe extraction of zip and tar archives from any operating system."""
