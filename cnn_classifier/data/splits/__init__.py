"""Train, validation and test splits: assignment, groups of samples that stay together, and `split.csv`."""
