"""Places for data: a folder and a bucket, with one set of verbs for both."""
