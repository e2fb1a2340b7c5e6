"""A tracking database that is made once: each test starts with a copy, which takes no time."""

from pathlib import Path

import pytest

from pipelines import tracking


@pytest.fixture(scope="session")
def tracking_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sqlite file with the experiment in it and no run."""
    folder = tmp_path_factory.mktemp("tracking")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        tracking.address()
    return folder / "mlflow.db"
