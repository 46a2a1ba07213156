import random

import pytest

from pipeline.errors import NothingToRollBack
from pipeline.serving.canary import State, canary, is_newer, promotion, roll_back, scaled

EMPTY = State({}, {}, "cats")
SERVING = State({"model-1": 100}, {"promoted": "model-1"}, "cats")
TRYING = State({"model-1": 90, "model-2": 10}, {"promoted": "model-1"}, "cats")


def test_the_first_model_gets_everything_and_is_promoted():
    assert canary("model-1", 10)(EMPTY) == SERVING


def test_a_new_model_gets_its_share_and_the_promoted_one_the_rest():
    assert canary("model-2", 10)(SERVING) == TRYING


def test_a_share_of_zero_deploys_and_one_of_a_hundred_promotes():
    assert canary("model-2", 0)(SERVING).traffic == {"model-1": 100, "model-2": 0}
    assert canary("model-2", 100)(SERVING) == promotion("model-2")(SERVING)


def test_a_newer_model_replaces_the_canary():
    assert canary("model-3", 25)(TRYING).traffic == {"model-1": 75, "model-3": 25}


@pytest.mark.parametrize(
    "tag, state",
    [
        ("model-1", SERVING),
        ("model-1", TRYING),
        ("model-1", State({"model-3": 100}, {"promoted": "model-3"})),
        ("model-2", State({"model-1": 100}, {"promoted": "model-1", "rolled-back": "model-2"})),
        ("model-3", State({"model-1": 90, "model-4": 10}, {"promoted": "model-1", "rolled-back": "model-3"})),
        ("model-3", State({"model-1": 100, "model-3": 0}, {"promoted": "model-1", "rolled-back": "model-3"})),
    ],
)
def test_an_older_model_is_not_deployed_again(tag, state):
    assert canary(tag, 10)(state) == state and not is_newer(tag, state)


def test_a_share_changed_by_hand_is_kept():
    halves = State({"model-1": 50, "model-2": 50}, {"promoted": "model-1"}, "cats")
    assert canary("model-2", 10)(halves) == halves


def test_promotion_gives_all_traffic_and_records_the_previous_model():
    promoted = promotion("model-2")(TRYING)
    assert promoted.traffic == {"model-2": 100}
    assert promoted.labels == {"promoted": "model-2", "previous": "model-1"}


def test_a_roll_back_removes_the_canary_before_it_changes_the_promoted_model():
    back = roll_back(TRYING)
    assert back.traffic == {"model-1": 100} and back.promoted == "model-1" and back.rolled_back == "model-2"
    assert roll_back(back) == back


def test_a_roll_back_returns_to_the_previous_model_and_no_further():
    back = roll_back(promotion("model-3")(promotion("model-2")(SERVING)))
    assert back.traffic == {"model-2": 100} and back.promoted == "model-2" and back.rolled_back == "model-3"
    assert roll_back(back) == back


def test_a_model_that_was_rolled_back_can_be_promoted_again():
    promoted = promotion("model-2")(SERVING)
    again = promotion("model-2")(roll_back(promoted))
    assert again == promoted and roll_back(again) == roll_back(promoted)


@pytest.mark.parametrize("state", [EMPTY, SERVING, State({"id:7": 100}, {}, "cats")])
def test_without_a_previous_model_there_is_nothing_to_roll_back(state):
    with pytest.raises(NothingToRollBack, match="on cats: .*promoted"):
        roll_back(state)


def test_a_model_deployed_by_others_keeps_its_part_of_the_rest():
    theirs = State({"id:7": 60, "model-1": 40, "id:8": 0}, {"promoted": "model-1"}, "cats")
    assert canary("model-2", 10)(theirs).traffic == {"id:7": 54, "model-1": 36, "id:8": 0, "model-2": 10}
    assert promotion("model-2")(theirs).traffic == {"id:7": 0, "id:8": 0, "model-2": 100}


def test_labels_of_others_are_kept():
    assert promotion("model-2")(State({}, {"team": "cats", "promoted": "?"})).labels == {
        "team": "cats",
        "promoted": "model-2",
    }


def test_shares_keep_their_proportions_and_add_up():
    assert scaled({"a": 100}, 90) == {"a": 90}
    assert scaled({"a": 1, "b": 1, "c": 1}, 100) == {"a": 34, "b": 33, "c": 33}
    assert scaled({"a": 99, "b": 1}, 10) == {"a": 10, "b": 0}


def test_every_goal_is_idempotent_also_halfway():
    """A process may be killed after each change: the next one continues to the same state."""
    chance = random.Random(0)
    state = EMPTY
    for _ in range(2000):
        newest = f"model-{chance.randint(1, 9)}"
        goal = chance.choice([canary(newest, chance.choice([0, 10, 100])), promotion(newest), roll_back])
        try:
            wanted = goal(state)
        except NothingToRollBack:
            continue
        assert sum(wanted.traffic.values()) in (0, 100)
        deployed = State({**{model: 0 for model in wanted.traffic}, **state.traffic}, state.labels, "cats")
        shifted = State({**{model: 0 for model in deployed.traffic}, **wanted.traffic}, wanted.labels, "cats")
        for halfway in (deployed, shifted, wanted):
            assert goal(halfway) == wanted
        state = chance.choice([deployed, shifted, wanted])
