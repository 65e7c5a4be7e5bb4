"""Run the MapReduce job over silver of a lake commit, and print the volume per symbol and month.

python -m mapreduce.monthly_volume --ref main
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from hdfs_native import Client, WriteOptions

from common.errors import StoreUnavailable, TickhouseError
from common.settings import REPO, Settings, home, load_settings
from stack.engine.fetch import jar_dir, java_program
from tickhouse.lake.hdfs_export import HdfsExport, export, hdfs, hdfs_errors

POM = REPO / "stack" / "hdfs" / "pom.xml"
HERE = Path(__file__).resolve().parent
ROOT = "/mapreduce/monthly_volume"
SENT = ["market", "symbol", "stream", "trade_time", "qty"]
# Hadoop uses internals of these packages, which Java 17 closes.
OPENED = ("java.lang", "java.nio", "java.util", "java.net", "sun.nio.ch")
LINES = pa_csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")


class Volume(NamedTuple):
    """The quantity of one symbol that was traded in one month (UTC).

    It is in the base asset, on COIN-M in contracts.
    """

    market: str
    symbol: str
    stream: str
    month: str
    volume: Decimal


def main() -> int:
    """Run the job for a lake reference and print the result; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mapreduce.monthly_volume", description="Volume per symbol and month."
    )
    parser.add_argument("--ref", default="main", help="branch, tag or commit of the lake (%(default)s)")
    try:
        volumes = monthly_volume(load_settings(), parser.parse_args().ref)
    except TickhouseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.writelines("\t".join([*row[:-1], f"{row.volume:f}"]) + "\n" for row in volumes)
    return 0


def monthly_volume(settings: Settings, ref: str) -> list[Volume]:
    """Return the volume per symbol and month at a lake reference, sorted.

    The reference is exported to HDFS first.

    Raises:
        ConfigurationError: The lake has no such reference.
        StoreUnavailable: The lake or HDFS does not answer, or the job failed; the message holds the
            end of its log.
    """
    exported = export(settings, ref)
    work = f"{ROOT}/{exported.commit_id}"
    with hdfs_errors(settings):
        client = hdfs(settings)
        client.delete(work, recursive=True)
        write_lines(client, exported, f"{work}/input")
    run_job(settings, f"{work}/input", f"{work}/output")
    with hdfs_errors(settings):
        return sorted(read_volumes(client, f"{work}/output"))


def write_lines(client: Client, exported: HdfsExport, folder: str) -> None:
    """Write silver of an export as lines for the mapper, without sentinels."""
    client.mkdirs(folder, create_parent=True)
    files = client.list_status(f"{exported.path}/silver/trades", recursive=True)
    parquet = sorted(file.path for file in files if file.path.endswith(".parquet"))
    for number, path in enumerate(parquet):
        options = WriteOptions(replication=1, overwrite=True)
        with client.read(path) as source, client.create(f"{folder}/{number:06d}.tsv", options) as sink:
            for batch in pq.ParquetFile(pa.PythonFile(source)).iter_batches(columns=[*SENT, "is_sentinel"]):
                buffer = pa.BufferOutputStream()
                pa_csv.write_csv(as_text(batch), buffer, LINES)
                sink.write(buffer.getvalue().to_pybytes())


def as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the columns that the mapper reads.

    The time is in microseconds, and the quantity is a text with all its digits.
    """
    traded = batch.filter(pc.invert(batch["is_sentinel"])).select(SENT)
    time_us = traded["trade_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    columns = [*(traded[name] for name in SENT[:3]), time_us, traded["qty"].cast(pa.string())]
    return pa.RecordBatch.from_arrays(columns, names=SENT)


def run_job(settings: Settings, source: str, target: str) -> None:
    """Run mapper and reducer with Hadoop streaming over HDFS, in one JVM (LocalJobRunner, no YARN).

    Raises:
        StoreUnavailable: The job failed.
    """
    scratch = home() / "tmp" / "mapreduce"
    defined = {
        "fs.defaultFS": settings.hdfs_url,
        "dfs.replication": "1",
        "hadoop.tmp.dir": str(scratch),
        "mapreduce.framework.name": "local",
        "mapreduce.job.reduces": "1",
    }
    programs = [("-mapper", HERE / "mapper.py"), ("-combiner", HERE / "reducer.py"), ("-reducer", HERE / "reducer.py")]
    command = [
        *(str(java_program()), "-Xmx512m", "-XX:+UseSerialGC"),
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED),
        *("-cp", f"{REPO / 'stack' / 'hdfs'}:{jar_dir(POM)}/*", "org.apache.hadoop.streaming.HadoopStreaming"),
        *(word for name, value in defined.items() for word in ("-D", f"{name}={value}")),
        *("-input", source, "-output", target),
        *(word for flag, path in programs for word in (flag, str(path))),
    ]
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        end = "\n".join((done.stderr or done.stdout).splitlines()[-30:])
        raise StoreUnavailable(
            f"The MapReduce job ended with {done.returncode}:\n{end}", next_command="tickhouse status"
        )


def read_volumes(client: Client, folder: str) -> Iterator[Volume]:
    """Yield the result of the reducer."""
    for file in client.list_status(folder):
        if "/part-" in file.path:
            with client.read(file.path) as source:
                for line in source.read().decode().splitlines():
                    key, volume = line.split("\t")
                    market, symbol, stream, month = key.split(":")
                    yield Volume(market, symbol, stream, month, Decimal(volume))


if __name__ == "__main__":
    sys.exit(main())
