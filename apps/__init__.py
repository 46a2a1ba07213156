"""What runs elsewhere than the pipelines: the page on a device, and the client in Python."""
