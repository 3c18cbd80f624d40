"""From folders of images to batches."""

AUTO = "auto"  # the value of an option that `cnn_classifier.auto` resolves
