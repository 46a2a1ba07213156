"""Calls of Google Cloud: retries, operations, Vertex AI clients, custom jobs, secrets."""
