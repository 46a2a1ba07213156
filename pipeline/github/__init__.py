"""Calls of GitHub: its client, errors and retries."""
