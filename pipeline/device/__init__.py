"""The device model: its input, its conversion to TensorFlow Lite, and how it runs."""
