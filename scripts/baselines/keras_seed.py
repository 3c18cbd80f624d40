"""The training of the seed notebooks: the same network in Keras with `image_dataset_from_directory` (TensorFlow)."""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from keras import layers, regularizers


class ThroughputCallback(keras.callbacks.Callback):
    """A Keras callback that prints the images per second of each epoch."""

    def __init__(self, num_images: int) -> None:
        super().__init__()
        self.num_images = num_images

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.start_time = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        print(f"images/s {self.num_images / (time.perf_counter() - self.start_time):.2f}", flush=True)


def build_network(image_size: int, num_classes: int) -> keras.Model:
    """Return the seed network with its augmentation layers."""
    regularizer = regularizers.l2(1e-4)
    inputs = x = layers.Input((image_size, image_size, 3))
    for augmentation in (
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.05),
        layers.RandomZoom(0.1),
        layers.Rescaling(1 / 255),
    ):
        x = augmentation(x)
    for filters in (32, 64, 128, 256):
        x = layers.Conv2D(filters, 3, padding="same", kernel_regularizer=regularizer)(x)
        for layer in (layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D(), layers.Dropout(0.2)):
            x = layer(x)
    x = layers.Dense(256, kernel_regularizer=regularizer)(layers.Flatten()(x))
    for layer in (layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.5)):
        x = layer(x)
    return keras.Model(inputs, layers.Dense(num_classes, activation="softmax")(x))


def main() -> None:
    """Train the network and print its speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    images = keras.utils.image_dataset_from_directory(
        f"{arguments.root}/train",
        image_size=(arguments.size, arguments.size),
        batch_size=arguments.batch,
        label_mode="categorical",
    )
    model = build_network(arguments.size, len(images.class_names))
    model.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy", metrics=["accuracy"])
    throughput = ThroughputCallback(int(images.cardinality()) * arguments.batch)
    model.fit(images.prefetch(tf.data.AUTOTUNE), epochs=arguments.epochs, verbose=0, callbacks=[throughput])


if __name__ == "__main__":
    main()
