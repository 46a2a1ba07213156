"""What nothing needs any more: found, shown and deleted."""
