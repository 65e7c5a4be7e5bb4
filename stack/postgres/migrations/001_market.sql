-- Candles and the ids that made them. Both change in one transaction (spark/candle_sink.py), so a candle holds each
-- event id exactly once, however often and however late the event comes.

CREATE SCHEMA IF NOT EXISTS market;

CREATE TABLE IF NOT EXISTS market.candles_1m (
    market                 text           NOT NULL CHECK (market IN ('spot', 'usdm', 'coinm')),
    symbol                 text           NOT NULL,
    stream                 text           NOT NULL CHECK (stream IN ('aggTrade', 'trade')),
    open_time              timestamptz    NOT NULL CHECK (date_trunc('minute', open_time, 'UTC') = open_time),
    open                   numeric(28, 8) NOT NULL,
    high                   numeric(28, 8) NOT NULL,
    low                    numeric(28, 8) NOT NULL,
    close                  numeric(28, 8) NOT NULL,
    volume                 numeric(38, 8) NOT NULL,
    quote_volume           numeric(38, 16) NOT NULL,
    vwap                   numeric(38, 16) NOT NULL,
    trades                 bigint         NOT NULL,
    agg_trades             bigint         NOT NULL,
    taker_buy_volume       numeric(38, 8) NOT NULL,
    taker_buy_quote_volume numeric(38, 16) NOT NULL,
    open_trade_id          bigint         NOT NULL,
    close_trade_id         bigint         NOT NULL,
    checksum               numeric(20, 0) NOT NULL,
    updated_at             timestamptz    NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (market, symbol, stream, open_time)
);
COMMENT ON TABLE market.candles_1m IS '1-minute OHLC bars, one a symbol and stream: a bar never mixes streams';
COMMENT ON COLUMN market.candles_1m.trades IS 'single trades: sum of last - first + 1';
COMMENT ON COLUMN market.candles_1m.agg_trades IS 'event ids in the bar';
COMMENT ON COLUMN market.candles_1m.checksum IS
    'order-free: sum modulo 2^64 of the first 15 hex digits of md5(trade_id|price|qty|side|trade_time_us)';

CREATE INDEX IF NOT EXISTS candles_1m_open_time ON market.candles_1m (open_time);

CREATE TABLE IF NOT EXISTS market.trade_ranges (
    market     text           NOT NULL,
    symbol     text           NOT NULL,
    stream     text           NOT NULL,
    seen       int8multirange NOT NULL DEFAULT '{}',
    updated_at timestamptz    NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (market, symbol, stream)
);
COMMENT ON TABLE market.trade_ranges IS 'ids already applied to candles_1m, sentinels included';

-- A symbol that came as single trades and as aggregates has a bar of each; the fuller one is the candle.
CREATE OR REPLACE VIEW market.candles AS
SELECT DISTINCT ON (market, symbol, open_time) *
FROM market.candles_1m
ORDER BY market, symbol, open_time, trades DESC, stream;

GRANT USAGE ON SCHEMA market TO tickhouse_stream, tickhouse_reader;
GRANT SELECT, INSERT, UPDATE ON market.candles_1m, market.trade_ranges TO tickhouse_stream;
GRANT SELECT ON ALL TABLES IN SCHEMA market TO tickhouse_reader;
