"""What AutoML's trainings cost at most."""

import pytest

from pipeline.cloud import automl_prices
from pipeline.config import Config
from pipeline.errors import TooExpensive


def test_the_budgets_at_googles_prices():
    # 8 node hours at $3.465, one at $18.00
    assert automl_prices.most_dollars(Config()) == pytest.approx(45.72)
    assert automl_prices.most_dollars(Config(automl_cloud_budget=8_000, automl_edge_budget=24_000)) == pytest.approx(
        27.72 + 432
    )


def test_more_than_the_limit_has_to_be_accepted():
    config = Config(automl_most_dollars=45.0)

    with pytest.raises(TooExpensive) as refused:
        automl_prices.check(config)

    assert (refused.value.dollars, refused.value.most) == (pytest.approx(45.72), 45.0)
    automl_prices.check(config, accepted=True)
    automl_prices.check(Config())
