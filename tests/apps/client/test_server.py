"""A server is asked in the protocol of TensorFlow Serving, at its base or at a whole address."""

from apps.client.server import Server
from tests.pipeline.conftest import plain


def test_an_answer_has_probabilities_by_label_and_says_what_it_cost(server):
    cloud = Server(server.url, "classification", 5)
    found = cloud.ask(plain(1)).result()
    cloud.close()

    assert (found.label, found.confidence) == ("bright", 0.9) and found.probabilities["dark"] < 0.2
    assert found.sent > len(plain(1)) and 0 < found.seconds < 5


def test_a_whole_address_is_taken_as_it_is():
    cloud = Server("https://example.com/v1/projects/1/endpoints/2:predict", "digits", 1)
    cloud.close()

    assert cloud.url == "https://example.com/v1/projects/1/endpoints/2:predict"


def test_pictures_are_with_the_server_at_the_same_time(server):
    cloud = Server(server.url, "classification", 5)
    found = [asked.result().label for asked in [cloud.ask(plain(number)) for number in range(16)]]
    cloud.close()

    assert found == ["bright"] * 16 and sorted(server.pictures) == sorted(map(plain, range(16)))
