"""Evaluation of a released model on the collected images: in this process, or by Vertex AI."""
