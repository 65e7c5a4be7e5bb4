-- One row per stream of bronze. `fingerprint` is the sum of a hash of each event: equal events in any order give equal sums.
SELECT
    market, symbol, stream,
    count(*) AS "rows",
    sum(hash(event_id, price, qty, side, epoch_us(trade_time))) AS fingerprint,
    count(*) FILTER (event_id IS DISTINCT FROM concat_ws(':', 'binance', market, symbol, stream, trade_id))
        AS foreign_ids,
    count(*) FILTER (side NOT IN ('BUY', 'SELL')) AS unknown_sides,
    count(*) FILTER (price IS NULL OR qty IS NULL OR trade_time IS NULL) AS without_values,
    count(*) FILTER (epoch_us(trade_time) // 3600000000 IS DISTINCT FROM epoch("date") // 3600 + hour)
        AS in_another_hour,
    count(*) FILTER (first_trade_id > last_trade_id) AS backward_ids,
    max(epoch_us(trade_time)) FILTER (price > 0 AND qty > 0) AS newest_us
FROM bronze
GROUP BY ALL
