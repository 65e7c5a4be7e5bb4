// Every trade of one symbol in its full resolution, one row per trade, for a zoom into a second.
// Parameters: market, symbol, stream, start, stop.
from(bucket: "trades")
    |> range(start: start, stop: stop)
    |> filter(fn: (r) => r._measurement == "trade")
    |> filter(fn: (r) => r._field == "price" or r._field == "qty" or r._field == "trade_id")
    |> filter(fn: (r) => r.market == market and r.symbol == symbol and r.stream == stream)
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> group()
    |> keep(columns: ["_time", "trade_id", "price", "qty", "side"])
    |> sort(columns: ["_time"])
