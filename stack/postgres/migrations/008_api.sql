-- What the read API reads: candles, the daily tables, the names of streams, and alerts; no ids and no audit rows.

GRANT USAGE ON SCHEMA market, gold TO tickhouse_api;
GRANT SELECT ON market.candles, market.candles_1m TO tickhouse_api;
GRANT SELECT (market, symbol, stream) ON market.trade_ranges TO tickhouse_api;
GRANT SELECT ON ALL TABLES IN SCHEMA gold TO tickhouse_api;

DO $$
BEGIN
    IF to_regclass('alerts.alerts') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA alerts TO tickhouse_api;
        GRANT SELECT ON alerts.alerts TO tickhouse_api;
    END IF;
END
$$;
