"""Keep the streaming job running.

What: submits `spark/streaming.py` (Kafka to lake, PostgreSQL, Redis and enriched Kafka topics) and stays with it.
Why: the job never ends by itself, so Airflow shows at one glance whether it runs, and starts it again when it fell.
When: always; the next run starts when one ends. One run at a time, and one driver on the checkpoints even when a killed
scheduler left an orphan: the new driver takes over the lease (spark/lease.py).
Prerequisites: `tickhouse up --profile core`; connection `spark_default` (set by the stack; `SPARK_MASTER` moves it).

To stop it: pause this DAG, then mark the run as failed, or `tickhouse down`. Either way the driver ends its open
batches first. Nothing is lost when it is killed instead: each query goes on from its checkpoint.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import dag

from spark.conf import CONF
from spark.submit_operator import StreamSubmitOperator

REPO = Path(__file__).resolve().parent.parent


def spark_jars() -> str:
    """Return the driver's jars, when the task is rendered: nothing is looked up at import."""
    from stack.engine.fetch import jar_dir

    return ",".join(str(jar) for jar in sorted(jar_dir(REPO / "spark" / "jars" / "pom.xml").glob("*.jar")))


def spark_ui_port() -> int:
    """Return the port of the Spark UI."""
    from tickhouse.settings import ports

    return ports()["spark_ui"]


@dag(
    schedule="@continuous",
    # Without it the first run is dated now and each later one like it, so that none is ever made: "run already exists".
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    catchup=False,
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["tickhouse", "stream", "spark"],
    user_defined_macros={"spark_jars": spark_jars, "spark_ui_port": spark_ui_port},
    default_args={"retries": 20, "retry_delay": timedelta(seconds=5), "max_retry_delay": timedelta(minutes=1)},
)
def stream_trades() -> None:
    """Run the streaming job."""
    StreamSubmitOperator(
        task_id="stream",
        application=str(REPO / "spark" / "streaming.py"),
        name="tickhouse-stream",
        conn_id="spark_default",
        driver_memory="1g",
        jars="{{ spark_jars() }}",
        conf={**CONF, "spark.ui.port": "{{ spark_ui_port() }}", "spark.port.maxRetries": "0"},
        retry_exponential_backoff=True,
        doc_md="The driver. Its log is this task's log; its UI is on the Spark UI port of stack/ports.yaml.",
    )


stream_trades()
