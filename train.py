from cnn_classifier.cli import run

if __name__ == "__main__":
    run("train")
