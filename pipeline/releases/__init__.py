"""Where models are published: a folder, a bucket, GitHub."""
