-- One row per stream of silver. `id_sum` is the sum of a hash of each id: it shows whether the ids are consecutive and distinct.
SELECT
    market, symbol, stream,
    count(*) AS "rows",
    min(trade_id) AS first_stored,
    max(trade_id) AS last_id,
    sum(hash(trade_id)) AS id_sum,
    sum(hash(event_id, price, qty, side, epoch_us(trade_time))) AS fingerprint,
    count(*) FILTER (
        CASE WHEN market = 'coinm' THEN quote_units(quote_qty) IS DISTINCT FROM base_coin(symbol, price, qty)
            ELSE quote_qty IS DISTINCT FROM price * qty END
    ) AS wrong_quote_qty,
    count(*) FILTER (is_sentinel IS DISTINCT FROM (price <= 0 OR qty <= 0)) AS wrong_flags,
    count(*) FILTER (epoch_us("minute") IS DISTINCT FROM epoch_us(trade_time) // 60000000 * 60000000)
        AS wrong_minutes,
    count(*) FILTER (epoch_us(trade_time) // 3600000000 IS DISTINCT FROM epoch("date") // 3600 + hour)
        AS in_another_hour
FROM silver
GROUP BY ALL
