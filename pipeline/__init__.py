"""What is trained, on what, and where. Nothing here knows a workflow."""
