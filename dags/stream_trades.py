"""Keep the streaming job running.

What: submits `spark/streaming/job.py` (Kafka to lake, PostgreSQL, Redis and the topic of enriched
trades) and waits for it.
Why: the job has no end. Because it is an Airflow task, Airflow shows whether it runs, and starts it
again after a failure.
When: always. The next run starts when one ends, one run at a time. Only one driver works on the
checkpoints: when a killed scheduler left one running, the new driver takes over its lease
(spark/checkpoints/driver_lease.py).
Prerequisites: `tickhouse up --profile core`; the connection `spark_default`, which the stack
defines (`SPARK_MASTER` sets its address).

To stop the job, pause this DAG and mark its run as failed, or run `tickhouse down`. Either way the
driver finishes its open batches first. Nothing is lost when it is killed instead: each query
continues from its checkpoint.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag

from common.settings import REPO
from spark.conf import stream_submit_conf
from tickhouse.dag_tasks.stream_trades import StreamSubmitOperator, spark_jars, spark_ui_port
from tickhouse.dag_tasks.task import TASK_DEFAULTS


@dag(
    schedule="@continuous",
    # Without a start date each run would be dated with the time of the first one, and Airflow would
    # refuse it: "run already exists".
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    catchup=False,
    is_paused_upon_creation=False,
    description="Keep the Spark streaming job running.",
    doc_md=__doc__,
    tags=["tickhouse", "stream", "spark"],
    # As macros they run when a task starts, and cost nothing when the DAG is parsed.
    user_defined_macros={"spark_jars": spark_jars, "spark_ui_port": spark_ui_port},
    default_args={
        **TASK_DEFAULTS,
        "retries": 20,
        "retry_delay": timedelta(seconds=5),
        "max_retry_delay": timedelta(minutes=1),
    },
)
def stream_trades() -> None:
    """Run the streaming job."""
    StreamSubmitOperator(
        task_id="stream",
        application=str(REPO / "spark" / "streaming" / "job.py"),
        name="tickhouse-stream",
        conn_id="spark_default",
        conf=stream_submit_conf(jars="{{ spark_jars() }}", ui_port="{{ spark_ui_port() }}"),
        retry_exponential_backoff=True,
        doc_md="The driver. Its log is the log of this task; its UI is on the port `spark_ui` of stack/ports.yaml.",
    )


stream_trades()
