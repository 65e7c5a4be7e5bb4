// Share of the volume that takers bought, per minute of one symbol: above 0.5 the buyers are in a hurry.
// Parameters: market, symbol, stream, start, stop.
from(bucket: "trades_1m")
    |> range(start: start, stop: stop)
    |> filter(fn: (r) => r._measurement == "bar" and (r._field == "volume" or r._field == "buy_volume"))
    |> filter(fn: (r) => r.market == market and r.symbol == symbol and r.stream == stream)
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> map(fn: (r) => ({_time: r._time, _value: (if exists r.buy_volume then r.buy_volume else 0.0) / r.volume}))
    |> sort(columns: ["_time"])
