"""What an endpoint serves."""
