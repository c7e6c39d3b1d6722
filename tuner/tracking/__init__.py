"""Shows studies to people: MLflow, the report and the terminal."""

import os

os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # it tells of every table that it makes
