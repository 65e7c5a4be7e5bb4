-- One row a stream: each event of bronze once, every derived column right, every id there or in the gap ledger.
WITH
received AS (
    SELECT market, symbol, stream, count(DISTINCT trade_id) AS received_ids FROM bronze GROUP BY ALL
),
stored AS (
    SELECT
        market, symbol, stream,
        count(*) AS "rows",
        count(DISTINCT trade_id) AS distinct_ids,
        min(trade_id) AS first_stored,
        max(trade_id) AS last_id,
        count(*) FILTER (event_id IS DISTINCT FROM concat_ws(':', 'binance', market, symbol, stream, trade_id))
            AS foreign_ids,
        count(*) FILTER (quote_qty IS DISTINCT FROM price * qty) AS wrong_quote_qty,
        count(*) FILTER (is_sentinel IS DISTINCT FROM (price <= 0 OR qty <= 0)) AS wrong_flags,
        count(*) FILTER (epoch_us("minute") IS DISTINCT FROM epoch_us(trade_time) // 60000000 * 60000000)
            AS wrong_minutes,
        count(*) FILTER (epoch_us(trade_time) // 3600000000 IS DISTINCT FROM epoch("date") // 3600 + hour)
            AS in_another_hour
    FROM silver
    GROUP BY ALL
),
before AS (
    SELECT market, symbol, stream, max(trade_id) AS last_before FROM silver_before GROUP BY ALL
),
-- A stream that goes on from the day before must go on without a hole.
spans AS (
    SELECT
        *,
        least(first_stored, coalesce(last_before + 1, first_stored)) AS first_id,
        last_id - least(first_stored, coalesce(last_before + 1, first_stored)) + 1 - distinct_ids AS missing_ids
    FROM stored LEFT JOIN before USING (market, symbol, stream)
),
-- Only streams that miss ids are sorted.
ordered AS (
    SELECT
        market, symbol, stream, trade_id,
        lag(trade_id, 1, first_id - 1) OVER (PARTITION BY market, symbol, stream ORDER BY trade_id) AS earlier_id
    FROM silver JOIN (SELECT market, symbol, stream, first_id FROM spans WHERE missing_ids > 0)
        USING (market, symbol, stream)
),
holes AS (
    SELECT market, symbol, stream, earlier_id + 1 AS hole_first, trade_id - 1 AS hole_last
    FROM ordered WHERE trade_id > earlier_id + 1
),
explained AS (
    SELECT
        market, symbol, stream,
        sum(greatest(0, least(hole_last, a.last_id) - greatest(hole_first, a.first_id) + 1)) AS explained_ids
    FROM holes JOIN absent AS a USING (market, symbol, stream)
    GROUP BY ALL
)
SELECT
    market, symbol, stream,
    coalesce("rows", 0) AS "rows", coalesce(distinct_ids, 0) AS distinct_ids, coalesce(received_ids, 0) AS received_ids,
    foreign_ids, wrong_quote_qty, wrong_flags, wrong_minutes, in_another_hour,
    coalesce(missing_ids, 0) AS missing_ids,
    -- Single trades of futures skip ids by nature (Binance leaves out insurance-fund and ADL fills).
    CASE WHEN stream = 'trade' AND market <> 'spot' THEN 0
        ELSE coalesce(missing_ids, 0) - coalesce(explained_ids, 0)::BIGINT END AS unexplained_ids
FROM spans
    LEFT JOIN explained USING (market, symbol, stream)
    FULL JOIN received USING (market, symbol, stream)
