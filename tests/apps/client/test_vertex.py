"""An endpoint of Vertex AI answers through Google's client, or says why it does not."""

import pytest

from apps.client.answers import Unanswered
from apps.client.vertex import NoEndpoint, VertexEndpoint
from pipeline.serving import endpoint
from tests.conftest import encoded, noise
from tests.pipeline.conftest import plain
from tests.serving import Serving


@pytest.fixture
def serving(cloud_environment, gs_workspace, dark_or_bright) -> Serving:
    return Serving(cloud_environment, gs_workspace, str(dark_or_bright))


def test_an_endpoint_answers_with_the_version_that_served(serving):
    with pytest.raises(NoEndpoint, match="digits"):
        VertexEndpoint(serving.config, 30)
    endpoint.deploy(serving.config, serving.release())
    cloud = VertexEndpoint(serving.config, 30)

    found = cloud.ask(plain(250)).result()

    assert (found.label, sorted(found.probabilities)) == ("bright", ["bright", "dark"]) and found.model
    assert found.sent > len(plain(250)) and found.seconds > 0
    with pytest.raises(Unanswered) as refused:
        cloud.ask(b"no picture").result()
    assert not refused.value.rests
    with pytest.raises(Unanswered, match="larger than Vertex AI takes"):
        cloud.ask(encoded(noise(1, "RGB", (4, 4)).resize((1200, 1200)), "BMP")).result()
    cloud.close()


def test_an_endpoint_that_is_slow_is_not_waited_for(serving):
    endpoint.deploy(serving.config, serving.release())
    cloud = VertexEndpoint(serving.config, 0.001)

    with pytest.raises(Unanswered, match="no answer within 0.001 s") as slow:
        cloud.ask(plain(250)).result()

    assert slow.value.rests and slow.value.seconds < 10
    cloud.close()
