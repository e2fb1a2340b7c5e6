"""Two processes share the tests: the files of tests/line, which one clone serves, go to one of them first."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LINE = Path(__file__).with_name("line")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, and the tests of one file together: they share what they have started."""
    for item in items:
        group = "line" if item.path.is_relative_to(LINE) else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: not item.path.is_relative_to(LINE))


@pytest.fixture(autouse=True, scope="module")
def own_tracking_address() -> Iterator[None]:
    """MLflow keeps the last tracking address for its whole process: no file finds another's."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    if "mlflow" not in sys.modules:
        return
    import mlflow

    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # back to the environment
    mlflow.set_registry_uri("")
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if before is not None:
        os.environ["MLFLOW_TRACKING_URI"] = before
