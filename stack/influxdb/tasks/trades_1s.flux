// Roll up the trades to bars of one second: open, high, low, close, volumes and number of trades.
//
// Each run computes whole windows again from the points, from 20 s before the last run that succeeded. A trade that
// is written within 15 s of its time is seen by the next run. Windows of later trades are computed by the streaming query
// itself, with the part below "roll-up" (common/clients/influxdb.py), so a late trade changes its windows as well.
import "date"
import "influxdata/influxdb/tasks"

option task = {name: "trades_1s", every: 10s, offset: 1s}

start = date.truncate(t: date.sub(d: 20s, from: tasks.lastSuccess(orTime: -10m)), unit: 1s)
stop = date.truncate(t: now(), unit: 1s)
// -- roll-up --
width = 1s
bucket = "trades_1s"

trades = (field) =>
    from(bucket: "trades")
        |> range(start: start, stop: stop)
        |> filter(fn: (r) => r._measurement == "trade" and r._field == field)

// One table per market and window. Before it, the server computes one value per series and window while it reads.
together = (tables=<-) => tables |> group(columns: ["exchange", "market", "stream", "symbol", "_start", "_stop"])

save = (tables=<-, field) =>
    tables
        |> duplicate(column: "_start", as: "_time")
        // Without side and clash of the chosen trade: every column of text would become a tag.
        |> keep(columns: ["exchange", "market", "stream", "symbol", "_time", "_value"])
        |> set(key: "_measurement", value: "bar")
        |> set(key: "_field", value: field)
        |> group(columns: ["exchange", "market", "stream", "symbol", "_measurement", "_field"])
        |> to(bucket: bucket)
        |> group()
        |> count()
        |> yield(name: field)

trades(field: "price") |> window(every: width) |> first() |> together() |> sort(columns: ["_time"]) |> first() |> save(field: "open")
trades(field: "price") |> window(every: width) |> max() |> together() |> max() |> save(field: "high")
trades(field: "price") |> window(every: width) |> min() |> together() |> min() |> save(field: "low")
trades(field: "price") |> window(every: width) |> last() |> together() |> sort(columns: ["_time"]) |> last() |> save(field: "close")
trades(field: "qty") |> window(every: width) |> sum() |> together() |> sum() |> save(field: "volume")
trades(field: "quote_qty") |> window(every: width) |> sum() |> together() |> sum() |> save(field: "quote_volume")
trades(field: "qty")
    |> filter(fn: (r) => r.side == "BUY")
    |> window(every: width)
    |> sum()
    |> together()
    |> sum()
    |> save(field: "buy_volume")
trades(field: "qty") |> window(every: width) |> count() |> together() |> sum() |> save(field: "trades")
