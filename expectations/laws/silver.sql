-- One row per stream: each event of bronze once, derived columns right, each id in silver or in the gap ledger.
WITH
-- Bronze may hold an event twice, because Kafka may. Only streams with repeated events are reduced to distinct events.
repeated AS (
    SELECT market, symbol, stream FROM bronze_streams AS b LEFT JOIN silver_streams AS s USING (market, symbol, stream)
    WHERE b.fingerprint IS DISTINCT FROM s.fingerprint
),
once AS (
    SELECT DISTINCT ON (event_id) market, symbol, stream, event_id, price, qty, side, trade_time
    FROM bronze JOIN repeated USING (market, symbol, stream)
    ORDER BY event_id, kafka_partition, kafka_offset
),
distinct_events AS (
    SELECT
        market, symbol, stream, count(*) AS events,
        sum(hash(event_id, price, qty, side, epoch_us(trade_time))) AS fingerprint
    FROM once GROUP BY ALL
),
received AS (
    SELECT
        market, symbol, stream, coalesce(d.events, b."rows") AS received_events,
        coalesce(d.fingerprint, b.fingerprint) AS received_fingerprint
    FROM bronze_streams AS b LEFT JOIN distinct_events AS d USING (market, symbol, stream)
),
before AS (
    SELECT market, symbol, stream, max(trade_id) AS last_before FROM silver_before GROUP BY ALL
),
-- A stream that had trades on the day before must continue without a missing id.
spans AS (
    SELECT *, least(first_stored, coalesce(last_before + 1, first_stored)) AS first_id
    FROM silver_streams LEFT JOIN before USING (market, symbol, stream)
),
series AS (
    SELECT market, symbol, stream, sum(hash(id)) AS id_sum
    FROM (
        SELECT market, symbol, stream, unnest(range(first_id, last_id + 1)) AS id
        FROM spans WHERE "rows" = last_id - first_id + 1
    )
    GROUP BY ALL
),
-- Sorting is expensive, so only streams whose ids are not consecutive are sorted.
broken AS (
    SELECT market, symbol, stream, first_id FROM spans LEFT JOIN series USING (market, symbol, stream)
    WHERE spans.id_sum IS DISTINCT FROM series.id_sum
),
ordered AS (
    SELECT
        market, symbol, stream, trade_id,
        lag(trade_id, 1, first_id - 1) OVER (PARTITION BY market, symbol, stream ORDER BY trade_id) AS earlier_id
    FROM silver JOIN broken USING (market, symbol, stream)
),
missing AS (
    SELECT
        market, symbol, stream,
        sum(greatest(trade_id - earlier_id - 1, 0))::BIGINT AS missing_ids,
        count(*) FILTER (trade_id = earlier_id) AS repeats
    FROM ordered GROUP BY ALL
),
explained AS (
    SELECT
        market, symbol, stream,
        sum(greatest(0, least(trade_id - 1, a.last_id) - greatest(earlier_id + 1, a.first_id) + 1))::BIGINT
            AS explained_ids
    FROM ordered JOIN absent AS a USING (market, symbol, stream)
    WHERE trade_id > earlier_id + 1
    GROUP BY ALL
)
SELECT
    market, symbol, stream,
    coalesce("rows", 0) AS "rows",
    coalesce("rows" - coalesce(repeats, 0), 0) AS distinct_events,
    coalesce(received_events, 0) AS received_events,
    coalesce(fingerprint, 0)::VARCHAR AS fingerprint, coalesce(received_fingerprint, 0)::VARCHAR AS received_fingerprint,
    wrong_quote_qty, wrong_flags, wrong_minutes, in_another_hour,
    coalesce(missing_ids, 0) AS missing_ids,
    -- Single trades of futures always skip ids: Binance omits insurance-fund and ADL fills.
    CASE WHEN stream = 'trade' AND market <> 'spot' THEN 0
        ELSE coalesce(missing_ids, 0) - coalesce(explained_ids, 0) END AS unexplained_ids
FROM spans
    LEFT JOIN missing USING (market, symbol, stream)
    LEFT JOIN explained USING (market, symbol, stream)
    FULL JOIN received USING (market, symbol, stream)
