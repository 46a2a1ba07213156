"""What workflows call and people type: a file is a command is a step. Decisions are made in pipeline/."""
