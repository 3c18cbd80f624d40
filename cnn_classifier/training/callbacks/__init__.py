"""Lightning callbacks, one per module."""
