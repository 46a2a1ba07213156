"""Released models on Vertex AI: the Model Registry, the endpoint, and its canary policy."""
