"""What must be set before anything is imported."""

import functools
import importlib.metadata
import os

# google-auth reads it at import: without it clients look for the metadata server of a machine at Google.
os.environ["NO_GCE_CHECK"] = "true"

# The user's and the machine's git settings may sign commits, change line ends or show differences in another way:
# https://git-scm.com/docs/git-config#ENVIRONMENT
os.environ["GIT_CONFIG_GLOBAL"] = os.path.join(os.path.dirname(__file__), "gitconfig")
os.environ["GIT_CONFIG_SYSTEM"] = os.devnull

# google-api-core reads the metadata of all that is installed, for each package of Google's that is imported.
importlib.metadata.packages_distributions = functools.cache(importlib.metadata.packages_distributions)
