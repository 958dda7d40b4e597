import pytest

import stepwell


@pytest.fixture
def store(tmp_path):
    """A store folder of its own for each test."""
    return str(tmp_path / "store")


@pytest.fixture
def run(store):
    """An open run in it."""
    run = stepwell.start(pipeline="tests", stage="one", store=store)
    yield run
    run.finish()


@pytest.fixture
def rows(store):
    """The rows of a metrics name as (metric, step, value), in the order in which they were logged."""

    def read(metrics_name="metrics"):
        query = f"SELECT metric, step, value FROM metrics WHERE metrics_name = '{metrics_name}' ORDER BY seq"
        return stepwell.sql(query, store).rows

    return read
