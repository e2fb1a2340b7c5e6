"""What is made once for many tests.

Each starts with a copy of one tracking database, and stages are forks of one process.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import tracking
from tests.pipelines import exam
from tests.pipelines.stages import Stages


@pytest.fixture(scope="session")
def tracking_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sqlite file with the experiment in it and no run."""
    folder = tmp_path_factory.mktemp("tracking")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        tracking.address()
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def examined(tmp_path_factory: pytest.TempPathFactory) -> exam.Examined:
    """To be copied: its `build`."""
    folder = tmp_path_factory.mktemp("examined")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return exam.examined(folder)


@pytest.fixture(scope="session")
def stages() -> Iterator[Stages]:
    """Runs stages' programs."""
    server = Stages()
    yield server
    server.close()
