"""Evaluation of a released model on the collected images: in a process of its own, or by Vertex AI."""
