// One-minute bars of one symbol, one row per minute.
// Parameters: market, symbol, stream, start, stop.
from(bucket: "trades_1m")
    |> range(start: start, stop: stop)
    |> filter(fn: (r) => r._measurement == "bar")
    |> filter(fn: (r) => r.market == market and r.symbol == symbol and r.stream == stream)
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> keep(columns: ["_time", "open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades"])
    |> sort(columns: ["_time"])
