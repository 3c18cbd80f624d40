from cnn_classifier.cli.main import run

if __name__ == "__main__":
    run("train")
