"""The browser runs the model as LiteRT does here, in both variants of the runtime."""

import json

import pytest

from pipeline.device.input import InputSpec, pixels
from pipeline.device.litert import LiteRTModel
from tests.pictures import encoded, photograph

# what a browser without relaxed SIMD says to the few bytes by which LiteRT.js asks for it
WITHOUT_RELAXED_SIMD = """
const instantiate = WebAssembly.instantiate;
WebAssembly.instantiate = (module, imports) =>
  module.byteLength < 200 ? Promise.reject(new WebAssembly.CompileError()) : instantiate(module, imports);
"""


@pytest.mark.parametrize("variant", ["plain", "compat"])
def test_the_model_gives_the_same_probabilities_as_here(variant, site, context, bright_or_dark, new_tab):
    if variant == "compat":
        context.add_init_script(WITHOUT_RELAXED_SIMD)
    app = new_tab().open()
    app.mode("device")
    model = LiteRTModel(str(bright_or_dark / "tflite"))

    for picture in (encoded(photograph(300, 200), "JPEG"), encoded(photograph(64, 64, "L"), "PNG")):
        app.choose(picture)
        (expected,) = model.predict(pixels(picture, InputSpec(8, 8, 3))[None])
        app.says(["dark", "bright"][expected.argmax()], by="device")
        found = [float(meter.get_attribute("value")) for meter in app.tab.locator("meter").all()]
        assert found == pytest.approx(sorted(expected, reverse=True), abs=1e-5)

    loaded = app.tab.evaluate("() => performance.getEntriesByType('resource').map(({ name }) => name)")
    assert any("compat" in name for name in loaded) == (variant == "compat")


def test_a_runtime_that_stopped_is_started_again(app, site, modules, publisher):
    site.replaced["/device.js"] = modules("device")
    manifest = json.loads((publisher.devices / "classification" / "model-1" / "manifest.json").read_bytes())

    lives = app.tab.evaluate(
        """async (manifest) => {
          const { DeviceModel } = await import("/device.js");
          const file = await fetch("/devices/classification/model-1/model.tflite");
          const data = new Uint8Array(await file.arrayBuffer());
          const first = await DeviceModel.load(manifest, data);
          const before = await first.isAlive();
          first.network.delete(); // it runs no more, as after another model has stopped the runtime
          const after = await first.isAlive();
          const second = await DeviceModel.load(manifest, data);
          return [before, after, await second.isAlive()];
        }""",
        manifest,
    )

    assert lives == [True, False, True]
