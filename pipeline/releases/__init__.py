"""Places where models are released: a folder, a bucket, GitHub."""
