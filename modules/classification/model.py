"""The model: how it is built, trained, exported and tuned. TFX's Trainer calls `run_fn`, its Tuner `tuner_fn`."""

import collections
import contextlib
import dataclasses
import io
import json
import math
import os
from collections.abc import Callable, Iterator

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from absl import logging
from tensorflow_transform.saved import saved_transform_io_v2
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from modules.classification.backbones import BACKBONES, FROZEN
from modules.classification.decoding import decode
from modules.classification.preprocessing import DECODED, IMAGE, LABEL, LABELS, SOURCE, transformed
from modules.classification.settings import SETTINGS, Settings

HEAD = "head"  # name of the layers behind the backbone
LEFT_OUT = "left-out.json"  # in the folder of the run's logs: a list of the sha256 of images that cannot be decoded
EPOCHS = "epochs.json"  # in the folder of the run's logs: a list with loss, accuracy, val_loss, val_accuracy an epoch


class TrainingDiverged(RuntimeError):
    """The loss is infinite or not a number, so further training is useless."""

    def __init__(self, epoch: int, settings: Settings):
        super().__init__(
            f"the loss is not a number after epoch {epoch}: the network diverged. Lower learning_rate"
            f" ({settings.learning_rate:g} now) in modules/classification/settings.py, look for other changes there,"
            " in backbones.py and in preprocessing.py (pixels have to be in [0, 1]), and train again"
        )


def build_model(settings: Settings, classes: int) -> keras.Model:
    """Maps float32 images [batch, H, W, C] in [0, 1] to float32 probabilities [batch, classes]; compiled."""
    if settings.backbone not in BACKBONES:
        raise ValueError(f"backbone {settings.backbone!r} is not one of {', '.join(BACKBONES)}: see settings.py.")
    images = keras.Input((settings.image_size, settings.image_size, settings.channels), name=transformed(IMAGE))
    features = BACKBONES[settings.backbone](images, settings)
    head = keras.Sequential(
        [
            keras.Input(features.shape[1:]),
            keras.layers.Dropout(settings.dropout),
            keras.layers.Dense(classes, activation="softmax", dtype="float32"),
        ],
        name=HEAD,
    )
    return _compiled(keras.Model(images, head(features)), settings)


def _compiled(model: keras.Model, settings: Settings) -> keras.Model:
    model.compile(
        optimizer=keras.optimizers.Adam(settings.learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,  # compiling takes longer than a small model trains
    )
    # Metrics get their variables with the first batch, and a step that makes variables is traced a second time.
    model.compute_metrics(None, tf.zeros([1], tf.int64), tf.zeros([1, *model.output_shape[1:]]))
    model.reset_metrics()
    return model


def learning_rate(settings: Settings, epoch: int) -> float:
    """Falls from settings.learning_rate towards 0 along half a cosine (https://arxiv.org/abs/1608.03983)."""
    return settings.learning_rate * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2


class Preprocessing:
    """The transform graph as a function, and the labels that it numbers."""

    def __init__(self, transform_output: str):
        output = tft.TFTransformOutput(transform_output)
        self.labels: list[bytes] = output.vocabulary_by_name(LABELS)
        self.raw_features = output.raw_feature_spec()
        # TFT's own Keras layer is traced through autograph, which takes ten seconds
        self._graph = saved_transform_io_v2.SavedModelLoader(output.transform_savedmodel_dir)
        self.trackable = self._graph._imported  # its tables must be saved with the model

    @tf.autograph.experimental.do_not_convert  # there is nothing to convert, and looking for it takes seconds
    def examples(self, records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Serialized examples [batch] to float32 images [batch, H, W, C] and int64 labels [batch].

        Also returns bool [batch], whether the image could be decoded, and text [batch], the sha256 of its bytes.
        """
        features = self._graph.apply_transform_model(tf.io.parse_example(records, self.raw_features))
        source = tf.io.parse_example(records, {SOURCE: tf.io.FixedLenFeature([], tf.string, "")})[SOURCE]
        return (
            features[transformed(IMAGE)],
            tf.reshape(features[transformed(LABEL)], [-1]),
            features[DECODED] > 0,
            source,
        )

    @tf.autograph.experimental.do_not_convert
    def images(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """PNG or JPEG bytes [batch] to float32 images [batch, H, W, C] in [0, 1], and whether each could be decoded."""
        features = self._graph.apply_transform_model({IMAGE: images[:, tf.newaxis]})
        return features[transformed(IMAGE)], features[DECODED] > 0


class UnreadableImages(RuntimeError):
    """So many images cannot be decoded that something is wrong with the data as a whole."""

    def __init__(self, sources: list[str], images: int):
        self.sources = sources  # sha256 of their bytes
        super().__init__(
            f"{len(sources)} of {images} images cannot be decoded, more than {LeftOut.MOST:.0%}: sha256"
            f" {', '.join(sources[:5])}{' ...' if len(sources) > 5 else ''}. Withdraw them, or import the files again."
        )


class LeftOut:
    """The images of a split that cannot be decoded and are left out of training and evaluation."""

    MOST = 0.01  # of all images

    def __init__(self):
        self.sources: set[str] = set()  # sha256 of their bytes

    def note(self, sources: np.ndarray) -> None:
        """Names those that are new; called from within a dataset."""
        for source in sorted({source.decode() for source in sources.ravel()} - self.sources):
            logging.warning("An image that cannot be decoded is left out: sha256 %s", source)
            self.sources.add(source)


class Examples:
    """The examples of one split, as pairs of a float32 image [H, W, C] and its int64 label."""

    def __init__(self, file_patterns: list[str], preprocessing: Preprocessing, settings: Settings):
        paths = sorted(path for pattern in file_patterns for path in tf.io.gfile.glob(pattern))
        self._preprocessing = preprocessing
        self._records = tf.data.TFRecordDataset(paths)
        labels = self._labels()
        self.count = labels.total()
        self.unknown = {label: images for label, images in labels.items() if label not in set(preprocessing.labels)}
        self.left_out = LeftOut()
        memory = settings.cache_megabytes * 1e6
        decoded = self.count * settings.image_size**2 * settings.channels * 4
        encoded = sum(tf.io.gfile.stat(path).length for path in paths)
        mean = max(1, encoded // max(1, self.count))  # bytes of an image
        self._together = max(1, min(256, _TOGETHER // mean))
        self._at_a_time = tf.data.AUTOTUNE if mean < _PHOTOGRAPH else 1
        self._cached = self._decoded(self._records).cache() if decoded <= memory else None
        self._buffer = max(1, min(self.count, int(memory // mean)))

    def in_order(self) -> tf.data.Dataset:
        """Gives every example once."""
        return self.uncached() if self._cached is None else self._cached

    def uncached(self) -> tf.data.Dataset:
        """Gives every example once, and keeps none of them in memory."""
        return self._decoded(self._records)

    def to_validate(self) -> tf.data.Dataset | None:
        """Gives every example once whose label has a number, for Keras, which fails on any other; None without one.

        The Evaluator counts the others as wrong. So does a score of these alone: it is the same for every network.
        """
        if self.unknown:
            named = ", ".join(f"{label.decode()} ({images:,})" for label, images in sorted(self.unknown.items()))
            logging.warning("Labels with images for evaluation and none for training, never right: %s", named)
        if self.count == sum(self.unknown.values()):
            return None
        return self.in_order().filter(lambda _, label: label >= 0) if self.unknown else self.in_order()

    def shuffled(self, seed: int) -> tf.data.Dataset:
        """Gives every example once, in an order that depends on the seed alone.

        A span has its images sorted by label, so nothing less than a shuffle of all of them is good. Where they take
        more than `cache_megabytes`, as many as fit are shuffled among each other, before they are decoded.
        """
        if self._cached is not None:
            return self._cached.shuffle(self.count, seed=seed)
        return self._decoded(self._records.shuffle(self._buffer, seed=seed))

    def _labels(self) -> collections.Counter:
        feature = {LABEL: tf.io.FixedLenFeature([], tf.string)}
        batches = self._records.batch(1024).map(lambda records: tf.io.parse_example(records, feature)[LABEL])
        return collections.Counter(label for batch in batches.as_numpy_iterator() for label in batch)

    def _decoded(self, records: tf.data.Dataset) -> tf.data.Dataset:
        return records.batch(self._together).map(self._usable, num_parallel_calls=self._at_a_time).unbatch()

    @tf.autograph.experimental.do_not_convert
    def _usable(self, records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Serialized examples [batch] to images and labels of those that can be decoded; notes the others."""
        images, labels, decoded, sources = self._preprocessing.examples(records)

        def without_others() -> tuple[tf.Tensor, tf.Tensor]:
            noted = tf.numpy_function(self.left_out.note, [tf.boolean_mask(sources, ~decoded)], [])
            with tf.control_dependencies([noted]):
                return tf.boolean_mask(images, decoded), tf.boolean_mask(labels, decoded)

        return tf.cond(tf.reduce_all(decoded), lambda: (images, labels), without_others)


class Features:
    """What the frozen part of a network makes of a split, which is the same in each epoch: Examples of features."""

    _TOGETHER = 64  # images: more of them need gigabytes, fewer take longer

    def __init__(self, frozen: keras.Model, examples: Examples):
        images = tf.TensorSpec([None, *frozen.input_shape[1:]], tf.float32)
        extract = tf.function(lambda images: frozen(images, training=False), [images], autograph=False)
        batches = [(extract(images).numpy(), labels) for images, labels in examples.uncached().batch(self._TOGETHER)]
        self._features = np.concatenate([features for features, _ in batches])
        self._labels = np.concatenate([labels for _, labels in batches])

    @staticmethod
    def fit(frozen: keras.Model, count: int, settings: Settings) -> bool:
        """True when the features of so many images are worth less than the memory that settings allow."""
        return 4 * math.prod(frozen.output_shape[1:]) * count <= settings.cache_megabytes * 1e6

    def shuffled(self, seed: int) -> tf.data.Dataset:
        """Gives every example once, in an order that depends on the seed alone."""
        return self._dataset(np.arange(len(self._labels))).shuffle(len(self._labels), seed=seed)

    def to_validate(self) -> tf.data.Dataset | None:
        """Gives every example once whose label has a number; None without one."""
        known = np.flatnonzero(self._labels >= 0)
        return self._dataset(known) if len(known) else None

    def _dataset(self, which: np.ndarray) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((self._features[which], self._labels[which]))


def check_left_out(*splits: Examples) -> list[str]:
    """Returns the sha256 of the images that cannot be decoded.

    Raises UnreadableImages when they are more than LeftOut.MOST of those that there are.
    """
    sources = sorted(set().union(*(split.left_out.sources for split in splits)))
    images = sum(split.count for split in splits)
    if len(sources) > LeftOut.MOST * images:
        raise UnreadableImages(sources, images)
    if sources:
        logging.warning("%d of %d images cannot be decoded and are left out", len(sources), images)
    return sources


# Photographs are decoded few at a time, so that training fits into 2 GB of memory on any number of threads.
_TOGETHER = 16 * 2**20  # bytes of encoded images that are decoded in one batch
_PHOTOGRAPH = 2**19  # bytes of an image from which on no second batch is decoded at the same time


class Checkpoints:
    """Keeps the state after each epoch, so that a training that was killed goes on from its last one."""

    def __init__(self, folder: str, model: keras.Model):
        model.optimizer.build(model.trainable_variables)
        self._variables = model.variables + model.optimizer.variables
        self._folder = folder
        self._file = os.path.join(folder, "state.npz")
        self.curves: list[dict[str, float]] = []  # loss, accuracy and the like of each epoch so far

    def restore(self) -> int:
        """Brings the newest state back, if there is one; returns how many epochs it has seen."""
        if not tf.io.gfile.exists(self._file):
            return 0
        with tf.io.gfile.GFile(self._file, "rb") as file:
            state = np.load(io.BytesIO(file.read()))
        for number, variable in enumerate(self._variables):
            variable.assign(state[f"arr_{number}"])
        epochs, self.curves = int(state["epochs"]), json.loads(str(state["curves"]))
        logging.info("Going on after epoch %d, from %s", epochs, self._file)
        return epochs

    def save(self, epochs: int) -> None:
        """Keeps the state after `epochs` epochs in place of the one before."""
        tf.io.gfile.makedirs(self._folder)
        # A tf.train.Checkpoint takes 0.3 s for the same. The rename makes the new state whole or absent.
        state = io.BytesIO()
        variables = map(keras.ops.convert_to_numpy, self._variables)
        np.savez(state, *variables, epochs=epochs, curves=json.dumps(self.curves))
        with tf.io.gfile.GFile(f"{self._file}.new", "wb") as file:
            file.write(state.getvalue())
        tf.io.gfile.rename(f"{self._file}.new", self._file, overwrite=True)

    def delete(self) -> None:
        """Forgets the state: the model that it led to is exported."""
        if tf.io.gfile.exists(self._folder):
            tf.io.gfile.rmtree(self._folder)


def export(model: keras.Model, preprocessing: Preprocessing, folder: str) -> None:
    """Writes a SavedModel that takes encoded images, and preprocesses them itself.

    Signatures:
        serving_default: image, PNG or JPEG bytes [batch] -> label, text [batch]; confidence, float32 [batch];
            probabilities, float32 [batch, classes]; all_classes, text [batch, classes], the label of each probability.
            An InvalidArgumentError names the images that cannot be decoded.
        preprocess: image, PNG or JPEG bytes [batch] -> pixels, float32 [batch, H, W, C] in [0, 1]; decoded, bool
            [batch], False where the bytes are no image, whose pixels are black.
        predict: pixels, float32 [batch, H, W, C] in [0, 1] -> as serving_default.
    """
    labels = tf.constant(preprocessing.labels)

    @tf.autograph.experimental.do_not_convert
    def predict(pixels):
        probabilities = model(pixels, training=False)
        return {
            "label": tf.gather(labels, tf.argmax(probabilities, axis=1)),
            "confidence": tf.reduce_max(probabilities, axis=1),
            "probabilities": probabilities,
            "all_classes": tf.tile(labels[tf.newaxis], [tf.shape(probabilities)[0], 1]),
        }

    @tf.autograph.experimental.do_not_convert
    def serve(image):
        pixels, decoded = preprocessing.images(image)
        broken = tf.where(~decoded)[:, 0]
        good = tf.debugging.Assert(tf.size(broken) == 0, ["not a JPEG or PNG that can be decoded: images", broken])
        with tf.control_dependencies([good]):
            return predict(pixels)

    @tf.autograph.experimental.do_not_convert
    def preprocess(image):
        pixels, decoded = preprocessing.images(image)
        return {"pixels": pixels, "decoded": decoded}

    encoded = tf.TensorSpec([None], tf.string, name="image")
    pixels = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32, name="pixels")
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.track(preprocessing.trackable)
    archive.add_endpoint("serving_default", serve, [encoded])
    archive.add_endpoint("preprocess", preprocess, [encoded])
    archive.add_endpoint("predict", predict, [pixels])
    archive.write_out(folder, verbose=False)


def dry_run(images: list[bytes], settings: Settings = SETTINGS) -> None:
    """Classifies PNG or JPEG bytes with an untrained model; called before a training, so that it fails in seconds."""
    model = build_model(settings, classes=2)
    pixels, decoded = decode(tf.constant(images), settings)
    if not tf.reduce_all(decoded):
        raise ValueError("preprocessing cannot decode a PNG or JPEG")
    probabilities = model(pixels, training=False)
    if probabilities.shape != (len(images), 2):
        raise ValueError(f"the model gives {tuple(probabilities.shape)} for {len(images)} images and 2 classes")
    keras.backend.clear_session()  # names of layers begin at 1 again


def run_fn(fn_args: FnArgs, settings: Settings = SETTINGS) -> None:
    """Trains on the transformed spans and exports the model; called by TFX's Trainer.

    `fn_args.custom_config` holds `seed` and `checkpoints`, a folder that belongs to these spans, modules and seed.
    """
    tuned = keras_tuner.HyperParameters.from_config(fn_args.hyperparameters).values if fn_args.hyperparameters else {}
    preprocessing = Preprocessing(fn_args.transform_output)
    checkpoints = fn_args.custom_config["checkpoints"]
    with trained(fn_args, dataclasses.replace(settings, **tuned), preprocessing, checkpoints) as model:
        export(model, preprocessing, fn_args.serving_model_dir)


@contextlib.contextmanager
def trained(
    fn_args: FnArgs, settings: Settings, preprocessing: Preprocessing, checkpoints: str
) -> Iterator[keras.Model]:
    """Trains a model and yields it to be exported; deletes its checkpoints once it is."""
    seed = fn_args.custom_config["seed"]
    keras.utils.set_random_seed(seed)
    train = Examples(fn_args.train_files, preprocessing, settings)
    evaluation = Examples(fn_args.eval_files, preprocessing, settings)

    model = build_model(settings, classes=len(preprocessing.labels))
    learner, learned, validated = _learner(model, train, evaluation, settings)
    kept = Checkpoints(checkpoints, learner)
    validation = validated.to_validate()

    def batches(epoch: int) -> tf.data.Dataset:
        check_left_out(train, evaluation)  # of the epochs before
        # the order depends on the seed and the epoch alone: after a restart it is what it would have been without
        return _as_it_is(learned.shuffled(seed + epoch).batch(settings.batch_size).prefetch(2))

    fit(learner, settings, kept, batches, validation and _as_it_is(validation.batch(settings.batch_size)))
    write_json(check_left_out(train, evaluation), fn_args.model_run_dir, LEFT_OUT)
    write_json(kept.curves, fn_args.model_run_dir, EPOCHS)
    yield model
    kept.delete()


def _as_it_is(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a dataset that TensorFlow does not rewrite: it takes 0.3 s, for each epoch again, and gains nothing."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)


def _learner(
    model: keras.Model, train: Examples, evaluation: Examples, settings: Settings
) -> tuple[keras.Model, Examples | Features, Examples | Features]:
    """Returns the part of a model that learns, and the two splits as it takes them.

    That is all of it, unless its backbone is frozen and what that makes of the images fits in memory.
    """
    frozen = next((layer for layer in model.layers if layer.name == FROZEN), None)
    if frozen is None or not Features.fit(frozen, train.count + evaluation.count, settings):
        return model, train, evaluation
    return _compiled(model.get_layer(HEAD), settings), Features(frozen, train), Features(frozen, evaluation)


def fit(
    model: keras.Model,
    settings: Settings,
    checkpoints: Checkpoints,
    batches: Callable[[int], tf.data.Dataset],
    validation: tf.data.Dataset | None,
) -> None:
    """Trains for the epochs that no checkpoint has seen, on `batches(epoch)`. Raises TrainingDiverged."""
    for epoch in range(checkpoints.restore(), settings.epochs):
        model.optimizer.learning_rate = learning_rate(settings, epoch)
        history = model.fit(
            batches(epoch),
            validation_data=validation,
            initial_epoch=epoch,
            epochs=epoch + 1,
            callbacks=[keras.callbacks.TerminateOnNaN()],
            verbose=2,  # a line an epoch, into the log
        ).history
        if not math.isfinite(history["loss"][-1]):
            raise TrainingDiverged(epoch + 1, settings)
        checkpoints.curves.append({name: float(values[-1]) for name, values in history.items()})
        checkpoints.save(epoch + 1)


def write_json(content: list, folder: str, name: str) -> None:
    """Keeps a list with the run's logs, for the page of its model."""
    tf.io.gfile.makedirs(folder)
    with tf.io.gfile.GFile(os.path.join(folder, name), "w") as file:
        json.dump(content, file, indent=1)


def tuner_fn(fn_args: FnArgs, settings: Settings = SETTINGS) -> TunerFnResult:
    """Searches learning rate and dropout; called by TFX's Tuner. Nothing that preprocessing needs can be tuned."""
    preprocessing = Preprocessing(fn_args.transform_graph_path)
    train = Examples(fn_args.train_files, preprocessing, settings)
    validation = Examples(fn_args.eval_files, preprocessing, settings).to_validate()

    def build(hyperparameters):
        values = {
            "learning_rate": hyperparameters.Float("learning_rate", 1e-4, 1e-2, sampling="log"),
            "dropout": hyperparameters.Float("dropout", 0.0, 0.5),
        }
        return build_model(dataclasses.replace(settings, **values), classes=len(preprocessing.labels))

    seed = fn_args.custom_config["seed"]
    keras.utils.set_random_seed(seed)
    score = "accuracy" if validation is None else "val_accuracy"
    tuner = keras_tuner.RandomSearch(
        build, score, max_trials=4, seed=seed, directory=fn_args.working_dir, project_name="tuner"
    )
    return TunerFnResult(
        tuner=tuner,
        fit_kwargs={
            "x": train.shuffled(seed).batch(settings.batch_size),
            "validation_data": validation and validation.batch(settings.batch_size),
            "callbacks": [keras.callbacks.TerminateOnNaN()],
            "epochs": max(1, settings.epochs // 4),  # enough to tell good from bad
            "verbose": 2,
        },
    )
