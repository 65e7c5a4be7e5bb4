-- Retention: candles in partitions of a month, which go as a whole, and a record of what was removed from a store.

-- The partitions hold the columns that the table has by now, whatever earlier migrations added to it.
ALTER TABLE market.candles_1m RENAME TO candles_1m_whole;
ALTER TABLE market.candles_1m_whole RENAME CONSTRAINT candles_1m_pkey TO candles_1m_whole_pkey;
ALTER INDEX market.candles_1m_open_time RENAME TO candles_1m_whole_open_time;

CREATE TABLE market.candles_1m (
    LIKE market.candles_1m_whole INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS
) PARTITION BY RANGE (open_time);
ALTER TABLE market.candles_1m ADD PRIMARY KEY (market, symbol, stream, open_time);
CREATE INDEX candles_1m_open_time ON market.candles_1m (open_time);
COMMENT ON TABLE market.candles_1m IS '1-minute OHLC bars, one per symbol and stream, partitioned by month of open time';

-- Takes what no month's partition takes, so that no bar is ever refused and the stream needs no right to make tables.
CREATE TABLE market.candles_1m_default PARTITION OF market.candles_1m DEFAULT;

-- Make the partition of a month and move its bars there out of the default one; false when it was there already.
-- Writers wait meanwhile, for a bar that is on its way to the default partition could find no place there afterwards;
-- readers wait only for the default partition.
CREATE FUNCTION market.make_candle_partition(month date) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    first  timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    until_ timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
    name   text := 'candles_1m_' || to_char(month, 'YYYY_MM');
BEGIN
    IF to_regclass(format('market.%I', name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    LOCK TABLE ONLY market.candles_1m IN SHARE ROW EXCLUSIVE MODE;
    LOCK TABLE market.candles_1m_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE market.%I (LIKE market.candles_1m INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format(
        'WITH moved AS (DELETE FROM market.candles_1m_default WHERE open_time >= %L AND open_time < %L RETURNING *) '
        'INSERT INTO market.%I SELECT * FROM moved', first, until_, name);
    EXECUTE format(
        'ALTER TABLE market.candles_1m ATTACH PARTITION market.%I FOR VALUES FROM (%L) TO (%L)', name, first, until_);
    RETURN true;
END
$$;
REVOKE EXECUTE ON FUNCTION market.make_candle_partition FROM PUBLIC;

SELECT market.make_candle_partition(month::date)
FROM (
    SELECT DISTINCT date_trunc('month', open_time AT TIME ZONE 'UTC') AS month FROM market.candles_1m_whole
    UNION
    SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead) FROM generate_series(0, 2) AS ahead
) AS months
ORDER BY month;

INSERT INTO market.candles_1m SELECT * FROM market.candles_1m_whole;

-- The view is of the old table; it comes back as an earlier migration has defined it.
DO $$
DECLARE
    definition text := pg_get_viewdef('market.candles'::regclass);
BEGIN
    DROP VIEW market.candles;
    DROP TABLE market.candles_1m_whole;
    EXECUTE 'CREATE VIEW market.candles AS ' || replace(definition, 'candles_1m_whole', 'candles_1m');
END
$$;
GRANT SELECT, INSERT, UPDATE ON market.candles_1m TO tickhouse_stream;
GRANT SELECT ON market.candles_1m, market.candles TO tickhouse_reader;

-- What `tickhouse retention apply` removes from a store of events, written before it is removed. `tickhouse reconcile`
-- exempts exactly these: an event of that time that had arrived by then (reconcile/expired.py).
CREATE TABLE audit.removals (
    store          text        NOT NULL,
    item           text        NOT NULL,
    event_from     timestamptz NOT NULL,
    event_until    timestamptz NOT NULL,
    arrived_before timestamptz NOT NULL,
    rows           bigint,
    bytes          bigint,
    why            text        NOT NULL,
    state          text        NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'removed')),
    planned_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_at     timestamptz,
    PRIMARY KEY (store, item)
);
COMMENT ON TABLE audit.removals IS 'what retention removed: events of [event_from, event_until) that arrived before';
GRANT SELECT ON audit.removals TO tickhouse_reader;
