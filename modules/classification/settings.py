"""The models' own settings: change them here, or tune those of the first (see `tuner_fn` in model.py)."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a training run needs to know beside its data."""

    image_size: int = 32  # pixels; every image is resized to a square of this side
    channels: int = 3  # 3: colour, 1: grey
    background: tuple[int, int, int] = (255, 255, 255)  # red, green, blue behind transparent pixels
    backbone: str = "small_cnn"  # a name from backbones.py
    pretrained: bool = False  # start from ImageNet weights: docs/own-model.md says which backbones have them
    epochs: int = 15
    batch_size: int = 32
    learning_rate: float = 1e-2
    dropout: float = 0.1
    cache_megabytes: int = 1024  # decoded images that fit in this are kept in memory between epochs


SETTINGS = Settings()


@dataclasses.dataclass(frozen=True)
class DeviceSettings(Settings):
    """The same for the device model, which `DEVICE_MODEL=true` trains beside the other on the same images."""

    quantization: str = "fp16"  # how its numbers are stored: fp32, fp16, dynamic, int8


DEVICE = DeviceSettings(backbone="separable_cnn")
