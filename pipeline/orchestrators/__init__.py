"""Where a pipeline definition runs: on this machine, on Vertex AI."""
