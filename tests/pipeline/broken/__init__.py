"""A task whose preprocessing can be traced, and fails when Transform runs it."""
