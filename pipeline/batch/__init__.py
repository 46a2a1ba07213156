"""The released model on what was collected."""
