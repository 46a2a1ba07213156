"""A training of two models, for the cloud and for devices, against one of the first alone: CPU seconds, on digits.

Also prints what each backbone becomes on a device, in each quantization: size, time on one thread, and what conversion
changes. The one for digits is trained. The others take one step from random weights, which shows nothing of what
conversion loses.

PHOTOGRAPHS=FILE also measures both trainings on photographs, with EfficientNet-Lite0 and its ImageNet weights (the
dependency group `pretrained`). FILE is a .tar.gz of train/<label>/<image>.
"""

import dataclasses
import importlib
import json
import os
import pathlib
import shutil
import sys
import tarfile
import tempfile

import measure

sys.path.insert(0, str(measure.ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

IMAGES = 1000
MOST = 2.0
ON_DEVICES = {"separable_cnn": 32, "mobilenet_v3": 64, "efficientnet_lite0_cut": 64, "densenet121": 64}  # pixels
PHOTOGRAPHS = """
SETTINGS = Settings(image_size=96, backbone="efficientnet_lite0", pretrained=True, learning_rate=1e-3)
DEVICE = DeviceSettings(image_size=64, backbone="efficientnet_lite0_cut", pretrained=True)
"""
ROW = "{:<31}{:<9}{:>9}{:>9}{:>12}{:>10}{:>10}"


def main():
    show_variants()
    with tempfile.TemporaryDirectory(prefix="device-model-") as folder:
        folder = pathlib.Path(folder)
        if photographs := os.environ.get("PHOTOGRAPHS"):
            with tarfile.open(photographs) as archive:
                archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
            write_modules(folder / "photographs")
            path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
            trainings(folder / "of-photographs", [str(folder / "train")], MODULES="photographs", PYTHONPATH=path)
        alone, pair = trainings(folder / "of-digits", ["--demo"])
    measure.finish("device_model", round(pair, 1), round(alone, 1), "CPU s", MOST)


def write_modules(folder: pathlib.Path) -> None:
    """Copies the task's package to a package of the folder's name, with settings for photographs."""
    source = measure.ROOT / "modules/classification"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.glob("*.py"):
        path.write_text(path.read_text().replace("modules.classification", folder.name))
    with open(folder / "settings.py", "a") as file:
        file.write(PHOTOGRAPHS)


def trainings(folder: pathlib.Path, images: list[str], **environment: str) -> tuple[float, float]:
    """Trains one model on the images, and a pair; prints both, and returns the CPU seconds of both."""
    costs = []
    for kind in ("alone", "pair"):
        settings = environment | {"WORKSPACE": str(folder / kind), "ACCURACY_THRESHOLD": "0.5", "DEVICE_AGREEMENT": "0"}
        ci = [sys.executable, "-m", "ci"]
        measure.run([*ci, "import-images", *images, "--json"], **settings)
        cost = measure.run([*ci, "train", "--json"], **settings, DEVICE_MODEL=str(kind == "pair"))
        outcome = json.loads(cost.out)
        print(
            f"\n{folder.name}, {kind}: {cost.cpu:.1f} CPU s, {cost.peak / 2**20:,.0f} MB, {found(outcome)}", flush=True
        )
        costs.append(cost.cpu)
    device = outcome["device"]
    for variant, compared in device["variants"].items():
        print(f"  {variant}: {json.dumps(compared)}")
    return costs[0], costs[1]


def found(outcome: dict) -> str:
    """Accuracies of an outcome of `train`."""
    metrics, device = outcome["metrics"], outcome["device"]
    text = f"accuracy {metrics['accuracy']:.3f} of {metrics['images']} images"
    if device:
        text += f", on a device {device['metrics']['accuracy']:.3f} ({device['bytes'] / 1e6:.2f} MB,"
        text += f" {device['milliseconds']:.2f} ms), agreement {device['agreement']:.3f}"
    return text if outcome["release"] else f"{text}, not released: {outcome['reasons']} {device and device['reasons']}"


def show_variants() -> None:
    """Prints a table of backbones and quantizations."""
    print(ROW.format("backbone", "", "MB", "ms", "difference", "labels", "accuracy"), flush=True)
    with tempfile.TemporaryDirectory(prefix="device-model-") as folder:
        for backbone, side in ON_DEVICES.items():
            show_backbone(backbone, side, os.path.join(folder, backbone))


def show_backbone(backbone: str, side: int, folder: str) -> None:
    import keras
    import numpy as np

    from pipeline.data import digits
    from pipeline.device import conversion
    from pipeline.device.input import InputSpec, pixels
    from pipeline.device.litert import LiteRTModel

    # as pipelines name them: a fork may have another task
    device, model = (importlib.import_module(f"modules.classification.{name}") for name in ("device", "model"))
    settings = dataclasses.replace(device.DEVICE, backbone=backbone, image_size=side)
    named = list(digits.images(digits.FIRST, limit=IMAGES))
    images = np.stack([pixels(image, InputSpec(side, side, settings.channels)) for _, image in named])
    labels = np.array([int(name.partition("/")[0]) for name, _ in named])
    train, evaluation = slice(0, IMAGES * 4 // 5), slice(IMAGES * 4 // 5, None)

    keras.utils.set_random_seed(0)
    network = model.build_model(settings, classes=10)
    if backbone == device.DEVICE.backbone:
        network.fit(images[train], labels[train], settings.batch_size, settings.epochs, verbose=0)
    else:
        network.run_eagerly = True  # tracing a step of DenseNet121 takes a minute
        network.train_on_batch(images[:8], labels[:8])
    device.export(network, list("0123456789"), settings, folder)
    expected = conversion.probabilities(folder, images[evaluation])
    for variant in conversion.VARIANTS:
        try:
            path = conversion.convert(folder, folder, variant, images[train][:128])
        except conversion.ConversionFailed as error:
            print(f"{backbone} {error}", flush=True)
            continue
        got = conversion.compare(path, expected, images[evaluation], labels[evaluation])
        conversion.check(variant, got, network.count_params())
        trained = f"{got.accuracy:.1%}" if backbone == device.DEVICE.backbone else "-"
        latency = f"{LiteRTModel(path).latency(images[0]):.2f}"
        size, far = f"{got.bytes / 1e6:.2f}", f"{got.largest_difference:.1g}"
        named = f"{backbone} {side} px"
        print(ROW.format(named, variant, size, latency, far, got.labels_changed, trained), flush=True)


if __name__ == "__main__":
    main()
