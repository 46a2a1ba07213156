"""A client that answers with the device model, the cloud model, or both, and goes on answering without a network."""
