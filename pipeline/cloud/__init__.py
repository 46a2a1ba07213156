"""How Google Cloud is called."""
