"""Images, spans, releases and reports, and where they lie: plain Python, imported without TensorFlow."""
