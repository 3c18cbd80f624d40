"""`python -m cnn_classifier`: the command where its script is not on the path."""

from cnn_classifier.cli.main import run

if __name__ == "__main__":
    run()
