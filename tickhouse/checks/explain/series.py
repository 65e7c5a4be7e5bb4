"""Ask InfluxDB about one event; results are JSON-ready values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from common.clients import influxdb
from common.event_ids import StreamName
from common.settings import Settings

_TAGS = ("side", "clash")


def points(settings: Settings, stream: StreamName, number: int, time_us: int | None) -> list[dict[str, Any]]:
    """Return the points of a trade; a second one is a fault.

    Without its time, all points of the symbol are searched, which takes long.

    Raises:
        StoreUnavailable: InfluxDB does not answer.
    """
    start, stop = (0, 1 << 62) if time_us is None else (time_us * 1000, (time_us + 1) * 1000)
    tags = {"market": stream.market, "symbol": stream.symbol, "stream": stream.stream}
    chosen = " and ".join(f"r.{name} == {influxdb.flux_text(value)}" for name, value in tags.items())
    source = f'from(bucket: "{influxdb.TRADES}")'
    with influxdb.connected(settings, "reader") as client:
        ids = (
            f"{source} |> range(start: {influxdb.flux_time(start)}, stop: {influxdb.flux_time(stop)})"
            f' |> filter(fn: (r) => r._measurement == "{influxdb.MEASUREMENT}" and r._field == "trade_id" and {chosen})'
            f" |> filter(fn: (r) => r._value == {number}) |> map(fn: (r) => ({{r with at: int(v: r._time)}}))"
        )
        return [_point(client, source, chosen, row) for row in influxdb.rows_of(client, ids)]


def _point(client: Any, source: str, chosen: str, found: dict[str, str]) -> dict[str, Any]:
    at = int(found["at"])
    side, clash = (influxdb.flux_text(found.get(name) or "") for name in _TAGS)
    numbered = f"r.clash == {clash}" if found.get("clash") else "not exists r.clash"
    fields = (
        f"{source} |> range(start: {influxdb.flux_time(at)}, stop: {influxdb.flux_time(at + 1)})"
        f' |> filter(fn: (r) => r._measurement == "{influxdb.MEASUREMENT}" and r.side == {side} and {chosen})'
        f' |> filter(fn: (r) => {numbered}) |> toString() |> keep(columns: ["_field", "_value"])'
    )
    values = {row["_field"]: row["_value"] for row in influxdb.rows_of(client, fields)}
    moment = datetime.fromtimestamp(at // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    place = f"{influxdb.TRADES} {moment}.{at % 1_000_000_000:09d}Z"
    return {"place": place, "side": found["side"], "trade_time_us": at // 1000, "fields": values}
