"""Writes a credential file without a key: it names where to get tokens from GitHub and from Google."""

import json
import os
import re
import secrets
import sys

provider, account = os.environ["PROVIDER"], os.environ["ACCOUNT"]
address, token = (os.environ.get(f"ACTIONS_ID_TOKEN_REQUEST_{part}") for part in ("URL", "TOKEN"))
address = address and f"{address}&job={os.environ['GITHUB_JOB']}"  # on GitHub the token of the request is of one job
if not (address and token):
    sys.exit("GitHub Actions did not inject $ACTIONS_ID_TOKEN_REQUEST_TOKEN: the job lacks `id-token: write`.")
if not re.fullmatch(r"projects/\d+/locations/global/workloadIdentityPools/[\w-]+/providers/[\w-]+", provider):
    sys.exit(f"{provider!r} is not the name of a provider")
project = re.fullmatch(r"[\w-]+@([\w-]+)\.iam\.gserviceaccount\.com", account)[1]

written = {
    "type": "external_account",
    "audience": f"//iam.googleapis.com/{provider}",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
    "credential_source": {
        "url": f"{address}&audience=https%3A%2F%2Fiam.googleapis.com%2F{provider.replace('/', '%2F')}",
        "headers": {"Authorization": f"Bearer {token}"},
        "format": {"type": "json", "subject_token_field_name": "value"},
    },
    "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
    f"{account}:generateAccessToken",
}
# In the checkout, like the real action.
path = os.path.join(os.environ["GITHUB_WORKSPACE"], f"gha-creds-{secrets.token_hex(8)}.json")
with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o640), "w") as file:
    json.dump(written, file)
with open(os.environ["GITHUB_ENV"], "a") as file:
    for name in ("CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_GHA_CREDS_PATH"):
        file.write(f"{name}={path}\n")
    for name in ("CLOUDSDK_CORE_PROJECT", "CLOUDSDK_PROJECT", "GCLOUD_PROJECT", "GCP_PROJECT", "GOOGLE_CLOUD_PROJECT"):
        file.write(f"{name}={project}\n")
print(f"Created credentials file at {path}")
