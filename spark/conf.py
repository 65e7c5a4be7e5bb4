"""Spark configuration of every Tickhouse job, and the spark-submit command line.

The DAGs, the tests and the benchmarks all get their configuration from here. This module imports
nothing from Spark.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from common.settings import is_light

# Avro trusts the length prefixes of its input. With these limits a damaged record fails to decode
# instead of allocating gigabytes. A frame is smaller than 64 KiB.
_AVRO_LIMITS = "-Dorg.apache.avro.limits.string.maxLength=1048576 -Dorg.apache.avro.limits.bytes.maxLength=1048576"
# Small batches spend their time in planning code that runs for the first time. On two cores the
# optimising compiler took 24 of the driver's first 85 CPU seconds and delayed each batch meanwhile,
# so only the first tier compiles. The first full collections were caused by the metaspace, which
# Spark fills to about 200 MB.
_YOUNG = "256m" if is_light() else "384m"
_JVM = f"-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:MetaspaceSize=256m -Xmn{_YOUNG}"
# Rows go to Python through Arrow. Its writer is well tested, but checks the bounds of each value.
_ARROW = "-Darrow.enable_unsafe_memory_access=true -Darrow.enable_null_check_for_get=false"
_LOGGING = f"-Dlog4j2.configurationFile=file://{Path(__file__).resolve().parent / 'log4j2.properties'}"

STREAM_CONF: Mapping[str, str] = {
    "spark.sql.session.timeZone": "UTC",
    # An overflow is an error, or a null that the query asked for; it never wraps. Decimals cast to
    # plain text.
    "spark.sql.ansi.enabled": "true",
    # decimal(28,8) x decimal(28,8) keeps its 16 decimals instead of being rounded to 6.
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Python receives at most 10,000 rows of a few KiB at once, which bounds the bytes. To apply its
    # own bound Spark adds up the size of each column after each row: a tenth of the CPU time of a
    # lake batch.
    "spark.sql.execution.arrow.maxBytesPerBatch": "2147483647b",
    # Three topic partitions feed a batch; two reducers, one per core, finish it.
    "spark.sql.shuffle.partitions": "2",
    # Batches are small and their shape is known: planning them a second time costs more than it
    # saves.
    "spark.sql.adaptive.enabled": "false",
    # The queries share the executor: a long lake batch must not delay the candles.
    "spark.scheduler.mode": "FAIR",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    # Who can open the UI may look, not kill; the driver's other ports ask for a secret, which Spark
    # makes for each run.
    "spark.ui.killEnabled": "false",
    "spark.authenticate": "true",
    "spark.sql.streaming.metricsEnabled": "true",
    "spark.ui.prometheus.enabled": "true",
    # Metrics at /metrics/prometheus of the UI. Without a namespace, the name of each would hold the
    # id of the application, which every start changes.
    "spark.metrics.namespace": "tickhouse_stream",
    "spark.metrics.conf.*.sink.prometheusServlet.class": "org.apache.spark.metrics.sink.PrometheusServlet",
    "spark.metrics.conf.*.sink.prometheusServlet.path": "/metrics/prometheus",
    "spark.ui.showConsoleProgress": "false",
    # Recording the call site of each column expression costs more than planning a small batch.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    # Without it each task of a Python function reads the directories of three archives (0.11 CPU
    # seconds).
    "spark.python.daemon.module": "spark.worker_daemon",
    # Each batch writes two checkpoint files. Through Hadoop's checksummed file system a file took
    # 30 ms, this way 5 ms (an idle query on two cores). Spark keeps a checksum of its own, and a
    # rename on one disk is atomic either way.
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    "spark.sql.streaming.checkpointFileManagerClass": (
        "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
    ),
    # After a restart of the machine the kept batches are read again. 200 batches are 60 s of the
    # fastest queries; Linux writes its page cache back after 35 s.
    "spark.sql.streaming.minBatchesToRetain": "200",
    "spark.driver.extraJavaOptions": f"{_JVM} {_AVRO_LIMITS} {_ARROW} {_LOGGING}",
}


# The batch is one long job instead of thousands of small ones, so the optimising compiler pays off.
BATCH_CONF: Mapping[str, str] = {
    **STREAM_CONF,
    "spark.scheduler.mode": "FIFO",
    "spark.ui.enabled": "false",
    "spark.driver.extraJavaOptions": f"-XX:+UseSerialGC -XX:MetaspaceSize=256m {_ARROW} {_LOGGING}",
}


def driver_memory() -> str:
    """Return the heap size of a driver. Spark refuses less than 450 MiB."""
    return "640m" if is_light() else "1g"


def jar_list(folder: Path) -> str:
    """Return the jars of a folder as Spark's option `spark.jars` takes them."""
    return ",".join(str(jar) for jar in sorted(folder.glob("*.jar")))


def stream_submit_conf(jars: str, ui_port: str) -> dict[str, str]:
    """Return all settings of the streaming job that must be known before the JVM starts.

    Args:
        jars: `jar_list` of the folder with the jars of `spark/jars/pom.xml`, or a template for it.
        ui_port: Port of the Spark UI on loopback, or a template for it. If the port is taken the
            job fails instead of trying the next one.
    """
    return {
        **STREAM_CONF,
        "spark.jars": jars,
        "spark.driver.memory": driver_memory(),
        "spark.ui.port": ui_port,
        "spark.port.maxRetries": "0",
    }


def batch_submit_conf() -> dict[str, str]:
    """Return all settings of the batch job that must be known before the JVM starts."""
    return {**BATCH_CONF, "spark.driver.memory": driver_memory()}


def submit_command(application: Path, conf: Mapping[str, str], *, master: str) -> list[str]:
    """Return the command line that submits an application.

    The process of spark-submit becomes the driver's JVM.
    """
    options = [word for name, value in conf.items() for word in ("--conf", f"{name}={value}")]
    return [str(Path(sys.prefix) / "bin" / "spark-submit"), "--master", master, *options, str(application)]
