"""Which Kafka offsets bronze holds according to its manifests.

A lake query without a checkpoint continues after them.

A manifest names its topic by Kafka's id, and the generation of its files
(`start_offsets.CheckpointNote`). Manifests of older versions have neither. They count as generation
"", and belong to the topic if their offsets exist in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from spark.checkpoints.folder import OffsetRanges
from spark.checkpoints.start_offsets import BronzeOffsets, BronzeOffsetsReader, TopicState, merged, next_generation
from spark.lake_target import LakeTarget, gateway_unavailable

log = structlog.get_logger("spark.checkpoints.bronze_offsets")

# Each manifest is one small request, and nearly all of its time is waiting.
_READERS: Final = 8

Manifest = Mapping[str, Any]


def bronze_offsets_reader(target: LakeTarget, topic: TopicState) -> BronzeOffsetsReader:
    """Return a function that reads from the lake which offsets of the topic bronze holds.

    The function raises StoreUnavailable when the lake does not answer.
    """

    def read(generation: str | None) -> BronzeOffsets:
        return bronze_offsets(read_manifests(target), topic, generation)

    return read


def read_manifests(target: LakeTarget) -> list[Manifest]:
    """Return all manifests of the target's table; one that does not parse is skipped.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    client = target.client()
    try:
        with ThreadPoolExecutor(_READERS) as pool:
            bodies = list(pool.map(lambda key: (key, _body(client, target, key)), _keys(client, target)))
    except (BotoCoreError, ClientError) as error:
        raise gateway_unavailable(target, str(error)) from error
    return list(_parsed(bodies))


def _keys(client: Any, target: LakeTarget) -> Iterator[str]:
    prefix = f"{target.branch}/bronze/_manifests/{target.table}/"
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=target.repository, Prefix=prefix):
        for item in page.get("Contents", []):
            if item["Key"].endswith(".json") and not item["Key"].endswith(".pointer.json"):
                yield item["Key"]


def _body(client: Any, target: LakeTarget, key: str) -> bytes:
    body: bytes = client.get_object(Bucket=target.repository, Key=key)["Body"].read()
    return body


def _parsed(bodies: Iterable[tuple[str, bytes]]) -> Iterator[Manifest]:
    for key, body in bodies:
        try:
            document = json.loads(body)
            if isinstance(document["ranges"], dict):
                yield document
        except (ValueError, KeyError, TypeError):
            log.warning("broken_manifest", path=key)  # readers ignore its batch, and it is written again


def bronze_offsets(manifests: Iterable[Manifest], topic: TopicState, generation: str | None) -> BronzeOffsets:
    """Return the offsets that bronze holds of one generation of a topic (pure).

    Args:
        manifests: All manifests of the table.
        topic: The topic as it is now.
        generation: The generation; None means the newest one of this topic.
    """
    ranges: dict[str, dict[int, OffsetRanges]] = {}
    ids: dict[str, str] = {}
    for manifest in manifests:
        name = str(manifest.get("generation", ""))
        ids[name] = str(manifest.get("topic_id", "")) or ids.get(name, "")
        for part, (first, until) in manifest["ranges"].items():
            ranges.setdefault(name, {}).setdefault(int(part), []).append((int(first), int(until)))
    chosen = _generation(ids, ranges, topic) if generation is None else generation
    return BronzeOffsets({part: merged(spans) for part, spans in ranges.get(chosen, {}).items()}, chosen)


def _generation(ids: Mapping[str, str], ranges: Mapping[str, Mapping[int, OffsetRanges]], topic: TopicState) -> str:
    """Return the newest generation of the topic; a new one when bronze holds only other topics."""
    own = [name for name, topic_id in ids.items() if topic_id == topic.topic_id]
    if own:
        return max(own, key=lambda name: (len(name), name))
    if not ids or (ids.get("", None) == "" and _fits(ranges[""], topic)):
        return ""
    return next_generation(topic.topic_id, "")


def _fits(ranges: Mapping[int, OffsetRanges], topic: TopicState) -> bool:
    return all(until <= topic.bounds.get(part, (0, 0))[1] for part, spans in ranges.items() for _, until in spans)
