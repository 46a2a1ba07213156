"""What people see of a run, and where its log goes."""
