"""Storage for data: a folder and a bucket, behind one interface."""
