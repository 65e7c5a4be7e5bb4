// Range of each minute in percent of its open, by symbol, and the symbols with the widest range first.
// Parameters: start, stop.
from(bucket: "trades_1m")
    |> range(start: start, stop: stop)
    |> filter(fn: (r) => r._measurement == "bar")
    |> filter(fn: (r) => r._field == "open" or r._field == "high" or r._field == "low")
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> map(fn: (r) => ({r with _value: 100.0 * (r.high - r.low) / r.open}))
    |> group(columns: ["market", "symbol", "stream"])
    |> mean()
    |> group()
    |> sort(columns: ["_value"], desc: true)
