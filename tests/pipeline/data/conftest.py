"""Storage in a temporary folder."""

import pytest

from pipeline.data.storage import Storage, open_storage


@pytest.fixture
def storage(workspace) -> Storage:
    return open_storage(str(workspace.root))
