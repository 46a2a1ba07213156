"""Environment variables that must be set before anything is imported."""

import os

# google-auth reads it at import: without it clients look for the metadata server of a machine at Google.
os.environ["NO_GCE_CHECK"] = "true"
