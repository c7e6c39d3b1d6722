#!/bin/sh
# PostgreSQL's first start makes the studies' database; this one is MLflow's.
set -eu
createdb --username "$POSTGRES_USER" mlflow
