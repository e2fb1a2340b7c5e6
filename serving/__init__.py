"""The Ray Serve application: photographs in over HTTP, restored and colorized photographs out."""

import os

# Read when ray and mlflow are imported, so they must stand before either is.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
