"""`python -m cnn_classifier`, which is `cnn-classifier` without the installed script."""

import sys

from cnn_classifier.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
