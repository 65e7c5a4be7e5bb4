// Price and its averages over one and five minutes, weighted by volume: the chart of one symbol.
// Parameters: market, symbol, stream, start, stop.
bars = (field) =>
    from(bucket: "trades_1s")
        |> range(start: start, stop: stop)
        |> filter(fn: (r) => r._measurement == "bar" and r._field == field)
        |> filter(fn: (r) => r.market == market and r.symbol == symbol and r.stream == stream)

// The sums of the windows that end at each minute; their quotient is the average.
average = (width, name) =>
    join(
        tables: {
            quote: bars(field: "quote_volume") |> aggregateWindow(every: 1m, period: width, fn: sum, createEmpty: false),
            base: bars(field: "volume") |> aggregateWindow(every: 1m, period: width, fn: sum, createEmpty: false),
        },
        on: ["_time", "market", "symbol", "stream"],
    )
        |> map(fn: (r) => ({_time: r._time, name: name, _value: r._value_quote / r._value_base}))
        |> group(columns: ["name"])

bars(field: "close")
    |> map(fn: (r) => ({_time: r._time, name: "price", _value: r._value}))
    |> group(columns: ["name"])
    |> yield(name: "price")

average(width: 1m, name: "average_1m") |> yield(name: "average_1m")
average(width: 5m, name: "average_5m") |> yield(name: "average_5m")
