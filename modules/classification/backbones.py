"""The networks to choose from: each maps float32 images [batch, H, W, C] in [0, 1] to features [batch, n]."""

import keras
import tensorflow as tf

from modules.classification.settings import Settings


class WeightsUnavailable(RuntimeError):
    """ImageNet weights were asked for and could not be downloaded."""


def small_cnn(images: tf.Tensor, settings: Settings) -> tf.Tensor:
    """Three convolutions: small enough to train in under a minute on two cores."""
    del settings  # it has no weights to download
    features = images
    for filters, size, stride in ((16, 4, 2), (32, 3, 1), (64, 3, 1)):
        features = keras.layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=False)(features)
        features = keras.layers.BatchNormalization(momentum=0.9)(features)
        features = keras.layers.ReLU()(features)
        if stride == 1:
            features = keras.layers.MaxPooling2D()(features)
    return keras.layers.GlobalAveragePooling2D()(features)


def separable_cnn(images: tf.Tensor, settings: Settings) -> tf.Tensor:
    """Three depthwise separable convolutions: 3,000 parameters, for the digits of the demo on a device."""
    del settings  # it has no weights to download
    features = images
    for filters in (16, 32, 64):
        features = keras.layers.SeparableConv2D(filters, 3, strides=2, padding="same", use_bias=False)(features)
        features = keras.layers.BatchNormalization(momentum=0.9)(features)
        features = keras.layers.ReLU()(features)
    return keras.layers.GlobalAveragePooling2D()(features)


def mobilenet_v3(images: tf.Tensor, settings: Settings) -> tf.Tensor:
    """MobileNetV3Small (https://arxiv.org/abs/1905.02244), for devices."""
    return _application(keras.applications.MobileNetV3Small, images * 255.0, settings)


def resnet50(images: tf.Tensor, settings: Settings) -> tf.Tensor:
    """ResNet50 (https://arxiv.org/abs/1512.03385)."""
    scaled = keras.applications.resnet.preprocess_input(images * 255.0)
    return _application(keras.applications.ResNet50, scaled, settings)


def densenet121(images: tf.Tensor, settings: Settings) -> tf.Tensor:
    """DenseNet121 (https://arxiv.org/abs/1608.06993), for servers."""
    scaled = keras.applications.densenet.preprocess_input(images * 255.0)
    return _application(keras.applications.DenseNet121, scaled, settings)


BACKBONES = {build.__name__: build for build in (small_cnn, separable_cnn, mobilenet_v3, resnet50, densenet121)}


def _application(build, images: tf.Tensor, settings: Settings) -> tf.Tensor:
    weights = "imagenet" if settings.pretrained else None
    try:
        network = build(include_top=False, weights=weights, input_shape=images.shape[1:], pooling="avg")
    except Exception as error:  # Keras raises just that when a download fails
        if not settings.pretrained:
            raise
        raise WeightsUnavailable(
            f"the ImageNet weights of {settings.backbone} are not there: {error}. Connect to the network once (Keras"
            " keeps them), or train from scratch: pretrained=False in modules/classification/settings.py."
        ) from error
    return network(images)
