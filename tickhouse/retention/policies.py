"""All retention policies of this home, in the order in which they are applied."""

from __future__ import annotations

from common.settings import Settings
from stack.engine.enabled import enabled_sinks, is_graph_enabled, is_series_enabled, is_statistics_enabled
from tickhouse.retention.airflow import AirflowHistory
from tickhouse.retention.alert_rows import AlertRows
from tickhouse.retention.candles import CandlePartitions
from tickhouse.retention.declaration import RetentionDeclaration, load
from tickhouse.retention.derived_stores import GeodeExpiry, GraphHours
from tickhouse.retention.folders import AuditPages, FolderFiles, ReplayedFiles
from tickhouse.retention.indices import ElasticsearchIndices, LogIndices
from tickhouse.retention.lake import BronzeDays, WorkBranches
from tickhouse.retention.policy import Policy
from tickhouse.retention.rows import CassandraTtl, MongoDocuments, RedriveRows
from tickhouse.retention.series import SeriesDays
from tickhouse.retention.topics import KafkaTopics


def policies(settings: Settings, declared: RetentionDeclaration | None = None) -> list[Policy]:
    """Return the policies of the core and of the enabled stores.

    Args:
        settings: Addresses.
        declared: The declaration; read from the file by default.

    Raises:
        ConfigurationError: The declaration does not load.
    """
    kept = declared or load()
    owner = settings.database_dsn("owner")
    core: list[Policy] = [
        KafkaTopics(settings),
        CandlePartitions(owner, kept.candles),
        RedriveRows(owner, kept.redrives.days),
        AlertRows(owner, kept.alerts.days),
        BronzeDays(settings, kept.bronze.days),
        WorkBranches(settings, kept.branches),
        AuditPages(settings, kept.data_docs.days),
        AirflowHistory(settings, kept.airflow.days),
        ReplayedFiles(settings.home, kept.truth.days),
        *(FolderFiles(settings.home, folder) for folder in kept.files),
    ]
    sinks: dict[str, Policy] = {
        "elasticsearch": ElasticsearchIndices(settings, kept.elasticsearch),
        "cassandra": CassandraTtl(settings, kept.cassandra.days),
        "mongodb": MongoDocuments(settings, kept.mongodb.days),
    }
    optional: list[Policy] = [
        *([LogIndices(settings, kept.logs)] if "elasticsearch" in enabled_sinks(settings) else []),
        *([SeriesDays(settings, kept.influxdb)] if is_series_enabled(settings) else []),
        *([GeodeExpiry(settings, kept.geode.days)] if is_statistics_enabled(settings) else []),
        *([GraphHours(settings, kept.neo4j.days)] if is_graph_enabled(settings) else []),
    ]
    return [*core, *(sinks[name] for name in enabled_sinks(settings)), *optional]
