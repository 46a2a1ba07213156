"""What makes a model good enough."""
