"""What a run needs of this repository: modules, wheel, image, commit."""
