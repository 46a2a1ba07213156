"""The server of released models: HTTP in this process, each model in a confined process of its own."""
