"""What has to be set before anything is imported."""

import os

# google-auth reads it once, when it is imported: nobody here looks for the metadata server of a machine at Google.
os.environ["NO_GCE_CHECK"] = "true"
