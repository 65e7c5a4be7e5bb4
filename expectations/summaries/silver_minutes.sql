-- One row per stream and minute of silver: counts of all, void and bought trades, and the first and last time of real ones.
SELECT
    market, symbol, stream, "date", epoch_us(trade_time) // 60000000 AS minute_number,
    count(*) AS trades,
    count(*) FILTER (is_sentinel) AS void_trades,
    count(*) FILTER (NOT is_sentinel AND side = 'BUY') AS buys,
    min(epoch_us(trade_time)) FILTER (NOT is_sentinel) AS first_us,
    max(epoch_us(trade_time)) FILTER (NOT is_sentinel) AS last_us
FROM silver
GROUP BY ALL
