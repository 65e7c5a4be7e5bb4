"""Configuration of every Tickhouse Spark job: exact decimals, UTC, loopback only. Imports nothing of Spark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Avro trusts length prefixes: a bad record must fail to decode, not ask for gigabytes. A frame is under 64 KiB.
_AVRO_LIMITS = "-Dorg.apache.avro.limits.string.maxLength=1048576 -Dorg.apache.avro.limits.bytes.maxLength=1048576"
# Small batches spend their time in planning code that runs for the first time: on two cores the optimising compiler
# took 24 of the driver's first 85 CPU seconds and delayed every batch meanwhile.
# The first full collections were for metaspace, which Spark fills to about 200 MB.
_JVM = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:MetaspaceSize=256m -Xmn384m"
# Rows go to Python through Arrow: its writer has been right since long, and checks the bounds of every single value.
_ARROW = "-Darrow.enable_unsafe_memory_access=true -Darrow.enable_null_check_for_get=false"
_LOGGING = Path(__file__).resolve().parent / "log4j2.properties"

CONF: Mapping[str, str] = {
    "spark.sql.session.timeZone": "UTC",
    # Overflow is an error or a null that we asked for, never a wrapped number; decimals cast to plain text.
    "spark.sql.ansi.enabled": "true",
    # decimal(28,8) x decimal(28,8) keeps its 16 decimals instead of being rounded to 6.
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # A batch of rows for Python is bounded by its 10,000 rows of some KiB at most. To bound its bytes too, Spark adds
    # up the size of every column after every row: a tenth of the CPU of a lake batch.
    "spark.sql.execution.arrow.maxBytesPerBatch": "2147483647b",
    # Three topic partitions feed a batch; two reducers, one a core, finish it.
    "spark.sql.shuffle.partitions": "2",
    # Batches are small and their shape is known: re-planning each one costs more than it finds.
    "spark.sql.adaptive.enabled": "false",
    # Queries share the executor: a long lake batch must not hold back the candles.
    "spark.scheduler.mode": "FAIR",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.streaming.metricsEnabled": "true",
    "spark.ui.prometheus.enabled": "true",
    "spark.ui.showConsoleProgress": "false",
    # The call site of every column expression costs more than building the plan of a small batch.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    # Each task of a Python function read the directories of three archives: 0.11 CPU seconds of a small batch.
    "spark.python.daemon.module": "spark.worker_daemon",
    # Through Hadoop's checksummed file system each file of a checkpoint took 30 ms, this way 5 (an idle query on two
    # cores), and a batch writes two. Spark keeps a checksum of its own; a rename on one disk is atomic either way.
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    "spark.sql.streaming.checkpointFileManagerClass": (
        "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
    ),
    # Checkpoints keep this many batches for replays after a crash.
    "spark.sql.streaming.minBatchesToRetain": "20",
    "spark.driver.extraJavaOptions": f"{_JVM} {_AVRO_LIMITS} {_ARROW} -Dlog4j2.configurationFile=file://{_LOGGING}",
}


# A batch is one long job instead of thousands of small ones: the optimising compiler pays, re-planning does not hurt.
BATCH_CONF: Mapping[str, str] = {
    **CONF,
    "spark.scheduler.mode": "FIFO",
    "spark.ui.enabled": "false",
    "spark.driver.extraJavaOptions": f"-XX:+UseSerialGC -XX:MetaspaceSize=256m {_ARROW} "
    f"-Dlog4j2.configurationFile=file://{_LOGGING}",
}


def submit_conf(jars: Path, ui_port: int, *, driver_memory: str = "1g") -> dict[str, str]:
    """Return the configuration for spark-submit: everything that must be set before the JVM starts.

    Args:
        jars: Folder with the jars of `spark/jars/pom.xml`.
        ui_port: Port of the Spark UI on loopback.
        driver_memory: Heap of the driver.
    """
    return {
        **CONF,
        "spark.jars": ",".join(str(jar) for jar in sorted(jars.glob("*.jar"))),
        "spark.driver.memory": driver_memory,
        "spark.ui.port": str(ui_port),
        "spark.port.maxRetries": "0",
    }
