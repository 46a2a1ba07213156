"""Checks of the resources and permissions on Google Cloud, each with the command that fixes it."""
