"""What every test file needs."""

import os
import sys
from collections.abc import Iterator

import pytest


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
