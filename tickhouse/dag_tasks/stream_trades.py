"""The operator of DAG `stream_trades`, and the macros of its template."""

from __future__ import annotations

import psutil
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import Context

from common.settings import REPO, load_settings, ports
from spark.checkpoints.driver_lease import stream_folder
from spark.conf import jar_list
from tickhouse.dag_tasks.links import SPARK_UI
from tickhouse.dag_tasks.run_report import RunReport

# The supervisor gives Airflow 60 s to stop (stack/airflow/service.yaml), and the driver needs at
# most 40 s of them (spark/streaming/job.py).
DRIVER_END_S = 50.0


class StreamSubmitOperator(SparkSubmitOperator):
    """Submits the streaming job. When the task is stopped, the driver first finishes open batches.

    Airflow's own operator would kill the driver at once. A killed JVM also leaves its scratch
    folders behind.
    """

    operator_extra_links = (SPARK_UI,)

    def execute(self, context: Context) -> None:
        """Say in the run's note where Spark's UI is, then submit the job and wait for its end."""
        settings = load_settings()
        report = RunReport(settings, context)
        report.link(SPARK_UI.name, spark_ui_url())
        # Airflow stores links when a task ends, and this one is meant not to end.
        context["ti"].xcom_push(key=SPARK_UI.xcom_key, value=spark_ui_url())
        report.note(f"The streaming job was submitted; each query goes on from its checkpoint. UI: {spark_ui_url()}")
        super().execute(context)

    def on_kill(self) -> None:
        """Ask the driver to stop by its stop file, wait until it ends, then kill what is left."""
        drivers = psutil.Process().children()  # spark-submit has replaced itself by the driver's JVM
        stop = stream_folder(load_settings()) / "stop"
        if drivers:
            stop.touch()
            psutil.wait_procs(drivers, timeout=DRIVER_END_S)
        super().on_kill()
        stop.unlink(missing_ok=True)  # a file that stays would stop the next driver


def spark_jars() -> str:
    """Return the driver's jars; the first call downloads them."""
    from stack.engine.fetch import jar_dir

    return jar_list(jar_dir(REPO / "spark" / "jars" / "pom.xml"))


def spark_ui_port() -> int:
    """Return the port of the Spark UI."""
    return ports()["spark_ui"]


def spark_ui_url() -> str:
    """Return the address of the Spark UI of the streaming job."""
    return f"http://127.0.0.1:{spark_ui_port()}"
