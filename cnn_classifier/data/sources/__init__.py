"""Data sources (folders, archives, URLs, CSV files and named datasets), each scanned into a `DatasetIndex`."""
