"""The same network, data and epochs in the style of TFX's templates: one module file, their input and export functions.

Follows the penguin template (https://github.com/tensorflow/tfx/tree/master/tfx/examples/penguin).
"""

import tensorflow as tf
import tensorflow_transform as tft
from tfx_bsl.public import tfxio

EPOCHS, BATCH, SIDE = 15, 32, 32


def preprocessing_fn(inputs):
    """Decodes images and numbers labels."""

    def decode(encoded):
        image = tf.io.decode_image(encoded[0], channels=3, expand_animations=False)
        image.set_shape([None, None, 3])
        return tf.image.resize(tf.cast(image, tf.float32), [SIDE, SIDE], antialias=True) / 255.0

    images = tf.map_fn(decode, inputs["image"], fn_output_signature=tf.TensorSpec([SIDE, SIDE, 3], tf.float32))
    return {"image_xf": images, "label_xf": tft.compute_and_apply_vocabulary(inputs["label"], vocab_filename="labels")}


def _input_fn(file_pattern, data_accessor, transform_output):
    options = tfxio.TensorFlowDatasetOptions(batch_size=BATCH, label_key="label_xf")
    return data_accessor.tf_dataset_factory(
        file_pattern, options, transform_output.transformed_metadata.schema
    ).repeat()


def _model(classes):
    images = tf.keras.Input((SIDE, SIDE, 3), name="image_xf")
    features = images
    for filters, size, stride in ((16, 4, 2), (32, 3, 1), (64, 3, 1)):
        features = tf.keras.layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=False)(features)
        features = tf.keras.layers.BatchNormalization(momentum=0.9)(features)
        features = tf.keras.layers.ReLU()(features)
        if stride == 1:
            features = tf.keras.layers.MaxPooling2D()(features)
    features = tf.keras.layers.Dropout(0.1)(tf.keras.layers.GlobalAveragePooling2D()(features))
    model = tf.keras.Model(images, tf.keras.layers.Dense(classes, activation="softmax")(features))
    model.compile(tf.keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def run_fn(fn_args):
    """Trains and exports."""
    transform_output = tft.TFTransformOutput(fn_args.transform_output)
    train = _input_fn(fn_args.train_files, fn_args.data_accessor, transform_output)
    evaluation = _input_fn(fn_args.eval_files, fn_args.data_accessor, transform_output)
    labels = transform_output.vocabulary_by_name("labels")
    model = _model(len(labels))
    model.fit(
        train,
        epochs=EPOCHS,
        steps_per_epoch=fn_args.train_steps,
        validation_data=evaluation,
        validation_steps=fn_args.eval_steps,
        verbose=2,
    )
    model.tft_layer = transform_output.transform_features_layer()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    def serve(image):
        features = model.tft_layer({"image": image[:, tf.newaxis]})
        probabilities = model(features["image_xf"])
        return {
            "label": tf.gather(tf.constant(labels), tf.argmax(probabilities, axis=1)),
            "confidence": tf.reduce_max(probabilities, axis=1),
            "probabilities": probabilities,
            "all_classes": tf.tile(tf.constant(labels)[tf.newaxis], [tf.shape(probabilities)[0], 1]),
        }

    tf.saved_model.save(model, fn_args.serving_model_dir, signatures={"serving_default": serve})
