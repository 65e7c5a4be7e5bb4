"""Hooks of InfluxDB: the administrator, then organisation, buckets, tokens, tasks; idempotent."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import yaml

from common.clients.influxdb import BUCKETS, MINUTES, SECONDS, TASKS, connected, token_of, tokens_file
from common.errors import ConfigurationError, ServiceNotReady
from common.settings import REPO, Settings
from stack.engine.context import ServiceContext

if TYPE_CHECKING:
    from influxdb_client import InfluxDBClient

ADMIN = "tickhouse"
_DAY_S = 86_400
# What each job may do, by bucket. The writer also removes days (tickhouse retention), which is a
# write for the server.
_PERMISSIONS = {"writer": ("read", "write"), "reader": ("read",)}


def create_admin(context: ServiceContext) -> None:
    """Create administrator and organisation at the first start; later calls do nothing.

    Raises:
        ServiceNotReady: The server answers something else.
    """
    import httpx

    settings = context.settings
    url = f"{settings.influxdb_url}/api/v2/setup"
    document = {
        "username": ADMIN,
        "password": settings.influxdb_admin_password.get_secret_value(),
        "token": token_of(settings, "admin"),
        "org": settings.influxdb_org,
        "bucket": BUCKETS[0],
        "retentionPeriodSeconds": 0,
    }
    with httpx.Client(timeout=30, trust_env=False) as client:
        try:
            if not client.get(url).raise_for_status().json()["allowed"]:
                return
            client.post(url, json=document).raise_for_status()
        except httpx.HTTPError as error:
            raise ServiceNotReady(
                f"InfluxDB was not set up: {error}.", next_command="tickhouse logs influxdb"
            ) from error


def provision(context: ServiceContext) -> None:
    """Make buckets, tokens and tasks as declared.

    Raises:
        ConfigurationError: There is no such organisation, or a task's file is refused.
        StoreUnavailable: The server does not answer, or refuses the token.
    """
    settings = context.settings
    with connected(settings, "admin") as client:
        org = _organisation(client, settings)
        _make_buckets(client, org)
        _make_tokens(client, org, settings)
        _make_tasks(client, org)


def kept_seconds() -> dict[str, int]:
    """Return for how long the server keeps each bucket's points; 0 is for ever."""
    kept = yaml.safe_load((REPO / "stack" / "retention.yaml").read_text())["influxdb"]
    days = {SECONDS: kept["seconds_days"], MINUTES: kept["minutes_days"]}
    return {bucket: days.get(bucket, 0) * _DAY_S for bucket in BUCKETS}


def shard_seconds(kept: int) -> int:
    """Return the length of a shard for a retention, as the server chooses it for a new bucket.

    It does not choose again when the retention changes, and refuses one that is shorter than a
    shard.
    """
    if 0 < kept < 2 * _DAY_S:
        return 3600
    return _DAY_S if 0 < kept < 180 * _DAY_S else 7 * _DAY_S


def _organisation(client: InfluxDBClient, settings: Settings) -> str:
    found = client.organizations_api().find_organizations(org=settings.influxdb_org)
    if not found:
        raise ConfigurationError(f"InfluxDB has no organisation {settings.influxdb_org!r}.")
    return str(found[0].id)


def _make_buckets(client: InfluxDBClient, org: str) -> None:
    from influxdb_client import BucketRetentionRules

    api = client.buckets_api()
    for name, seconds in kept_seconds().items():
        shard = shard_seconds(seconds)
        rules = [BucketRetentionRules(type="expire", every_seconds=seconds, shard_group_duration_seconds=shard)]
        bucket = api.find_bucket_by_name(name)
        if bucket is None:
            api.create_bucket(bucket_name=name, retention_rules=rules, org=org)
        elif sum(rule.every_seconds for rule in bucket.retention_rules) != seconds:
            bucket.retention_rules = rules
            api.update_bucket(bucket)


def _make_tokens(client: InfluxDBClient, org: str, settings: Settings) -> None:
    """Create a token per job, and write those of this server beside its data."""
    known = {one.description: one.token for one in client.authorizations_api().find_authorizations(org_id=org)}
    tokens = {role: known.get(_description(role)) or _new_token(client, org, role) for role in _PERMISSIONS}
    path = tokens_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_suffix(".new")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(tokens, file)
    partial.replace(path)


def _description(role: str) -> str:
    return f"tickhouse_{role}"


def _new_token(client: InfluxDBClient, org: str, role: str) -> str:
    from influxdb_client import Authorization, Permission, PermissionResource

    api = client.buckets_api()
    buckets = [api.find_bucket_by_name(name) for name in BUCKETS]
    permissions = [
        Permission(action=action, resource=PermissionResource(type="buckets", id=bucket.id, org_id=org))
        for action in _PERMISSIONS[role]
        for bucket in buckets
    ]
    made = Authorization(org_id=org, permissions=permissions)
    made.description = _description(role)
    return str(client.authorizations_api().create_authorization(authorization=made).token)


def _make_tasks(client: InfluxDBClient, org: str) -> None:
    """Make the tasks equal to their files."""
    from influxdb_client import TaskCreateRequest

    api = client.tasks_api()
    known: dict[str, Any] = {task.name: task for task in api.find_tasks(org_id=org, limit=500)}
    for path in sorted(TASKS.glob("*.flux")):
        text = path.read_text()
        task = known.get(path.stem)
        if task is None:
            api.create_task(task_create_request=TaskCreateRequest(flux=text, org_id=org, status="active"))
        elif task.flux.strip() != text.strip() or task.status != "active":
            task.flux, task.status = text, "active"
            task.every = task.cron = task.offset = None  # the options in the text apply
            api.update_task(task)
