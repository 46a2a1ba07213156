"""Image classification that learns nothing: to see what becomes of a worse model."""
