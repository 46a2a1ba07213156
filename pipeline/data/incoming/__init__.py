"""Images on their way into a span: where they lie, where their labels come from, what becomes of the others."""
