"""The operator that submits the streaming job: told to stop, it lets the driver end its open batches."""

from __future__ import annotations

import psutil
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

from spark.lease import stream_folder
from tickhouse.settings import load_settings

# Of the supervisor's 60 s (stack/airflow/service.yaml); the driver itself takes 40 at most (spark/streaming.py).
END_S = 50.0


class StreamSubmitOperator(SparkSubmitOperator):
    """SparkSubmitOperator that asks the driver to end before it kills it, as its own hook does without asking.

    A JVM that is killed also leaves its scratch folders behind.
    """

    def on_kill(self) -> None:
        """Leave the driver its stop file, wait for its end, then kill what is left."""
        drivers = psutil.Process().children()  # spark-submit has become the driver's JVM
        stop = stream_folder(load_settings()) / "stop"
        if drivers:
            stop.touch()
            psutil.wait_procs(drivers, timeout=END_S)
        super().on_kill()
        stop.unlink(missing_ok=True)  # else it would stop the next driver
