"""Shim for `python train.py dataset=cats_dogs` in a checkout."""

import sys

from cnn_classifier.cli.main import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    sys.exit(main())
