"""The resources on Google Cloud: one table of them, and what creates those that are missing."""
