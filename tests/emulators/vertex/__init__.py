"""Vertex AI on this machine: it checks what is asked as strictly as the real one, and does it."""
