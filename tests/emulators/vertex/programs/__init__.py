"""Programs that run in processes of their own, as containers do."""
