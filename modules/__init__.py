"""What you change: one folder a task, with its settings, preprocessing and model."""
