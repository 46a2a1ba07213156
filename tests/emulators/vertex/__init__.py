"""Local Vertex AI: validates requests as strictly as the real service and performs them."""
