// Trades per second of each symbol: is the stream alive, and where is the activity?
// Parameters: start, stop.
from(bucket: "trades_1s")
    |> range(start: start, stop: stop)
    |> filter(fn: (r) => r._measurement == "bar" and r._field == "trades")
    |> group(columns: ["market", "symbol", "stream"])
    |> keep(columns: ["_time", "_value", "market", "symbol", "stream"])
    |> sort(columns: ["_time"])
