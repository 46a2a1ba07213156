"""How Beam runs: on this machine, in this process."""

# Without an explicit runner Beam tries to download one (Prism). Without an image name TFX packs a source distribution
# of itself for workers that do not exist here.
# Checking the types of TFX's own transforms, which are right, takes a tenth of the time of a run on few images.
ON_THIS_MACHINE = ["--runner=FnApiRunner", "--sdk_container_image=local", "--no_pipeline_type_check"]
