"""From folders, archives, URLs and tables to a `DatasetIndex`."""
