"""What the seed notebooks do: the same network in Keras over `image_dataset_from_directory`; needs tensorflow."""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from keras import layers, regularizers


class Clock(keras.callbacks.Callback):
    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        print(f"images/s {self.images / (time.perf_counter() - self.started):.2f}", flush=True)


def network(size: int, num_classes: int) -> keras.Model:
    weights = regularizers.l2(1e-4)
    inputs = hidden = layers.Input((size, size, 3))
    for change in (
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.05),
        layers.RandomZoom(0.1),
        layers.Rescaling(1 / 255),
    ):
        hidden = change(hidden)
    for width in (32, 64, 128, 256):
        hidden = layers.Conv2D(width, 3, padding="same", kernel_regularizer=weights)(hidden)
        for layer in (layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D(), layers.Dropout(0.2)):
            hidden = layer(hidden)
    hidden = layers.Dense(256, kernel_regularizer=weights)(layers.Flatten()(hidden))
    for layer in (layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.5)):
        hidden = layer(hidden)
    return keras.Model(inputs, layers.Dense(num_classes, activation="softmax")(hidden))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    words = parser.parse_args()
    images = keras.utils.image_dataset_from_directory(
        f"{words.root}/train", image_size=(words.size, words.size), batch_size=words.batch, label_mode="categorical"
    )
    model = network(words.size, len(images.class_names))
    model.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy", metrics=["accuracy"])
    clock = Clock(int(images.cardinality()) * words.batch)
    model.fit(images.prefetch(tf.data.AUTOTUNE), epochs=words.epochs, verbose=0, callbacks=[clock])


if __name__ == "__main__":
    main()
