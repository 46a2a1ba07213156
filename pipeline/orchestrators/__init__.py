"""Where a pipeline definition runs: on this machine or on Vertex AI."""
