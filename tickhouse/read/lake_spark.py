"""A Spark session that reads the lake by s3a:// addresses, for analysts and notebooks.

The jobs do not use it: they read with pyarrow (docs/adr/0011-batch-files.md).
"""

from __future__ import annotations

from pyspark.sql import SparkSession

from common.settings import REPO, Settings
from stack.engine.fetch import jar_dir


def lake_session(settings: Settings, app: str = "analysis") -> SparkSession:
    """Return a session in this process in which `s3a://<repository>/<ref>/` is the lake.

    Args:
        settings: Address and keys of the lake.
        app: Name of the application.
    """
    jars = ",".join(str(jar) for jar in sorted(jar_dir(REPO / "spark" / "s3a" / "pom.xml").glob("*.jar")))
    s3a = {
        "endpoint": settings.lakefs_endpoint,
        "endpoint.region": "us-east-1",
        "path.style.access": "true",
        "connection.ssl.enabled": str(settings.lakefs_endpoint.startswith("https:")).lower(),
        "access.key": settings.lakefs_access_key_id,
        "secret.key": settings.lakefs_secret_access_key.get_secret_value(),
        "aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        "attempts.maximum": "3",
    }
    builder = SparkSession.builder.master("local[2]").appName(app).config("spark.jars", jars)
    for name, value in s3a.items():
        builder = builder.config(f"spark.hadoop.fs.s3a.{name}", value)
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
    }.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()
