-- The daily tables of the lake's main, for whoever asks SQL. tickhouse/nightly/serving.py makes them equal to a commit
-- in one transaction; the lake stays their only source.

CREATE SCHEMA IF NOT EXISTS gold;

CREATE TABLE IF NOT EXISTS gold.candles_1d (
    market                 text           NOT NULL,
    symbol                 text           NOT NULL,
    stream                 text           NOT NULL,
    open_time              timestamptz    NOT NULL,
    open                   numeric(28, 8) NOT NULL,
    high                   numeric(28, 8) NOT NULL,
    low                    numeric(28, 8) NOT NULL,
    close                  numeric(28, 8) NOT NULL,
    volume                 numeric(38, 8) NOT NULL,
    quote_volume           numeric(38, 16) NOT NULL,
    vwap                   numeric(38, 16),
    trades                 bigint         NOT NULL,
    agg_trades             bigint         NOT NULL,
    taker_buy_volume       numeric(38, 8) NOT NULL,
    taker_buy_quote_volume numeric(38, 16) NOT NULL,
    open_trade_id          bigint,
    close_trade_id         bigint,
    PRIMARY KEY (market, symbol, open_time)
);

CREATE TABLE IF NOT EXISTS gold.top_movers (
    market        text            NOT NULL,
    symbol        text            NOT NULL,
    open_time     timestamptz     NOT NULL,
    quote         text            NOT NULL,
    open          numeric(28, 8)  NOT NULL,
    close         numeric(28, 8)  NOT NULL,
    quote_volume  numeric(38, 16) NOT NULL,
    trades        bigint          NOT NULL,
    change        numeric(38, 8)  NOT NULL,
    rank_gain     integer         NOT NULL,
    rank_loss     integer         NOT NULL,
    rank_turnover integer         NOT NULL,
    PRIMARY KEY (market, symbol, open_time)
);

CREATE TABLE IF NOT EXISTS gold.volatility (
    market     text            NOT NULL,
    symbol     text            NOT NULL,
    open_time  timestamptz     NOT NULL,
    returns    bigint          NOT NULL,
    variance   numeric(38, 24) NOT NULL,
    volatility numeric(38, 12) NOT NULL,
    span       numeric(38, 8),
    PRIMARY KEY (market, symbol, open_time)
);

CREATE TABLE IF NOT EXISTS gold.monthly (
    market                 text            NOT NULL,
    symbol                 text            NOT NULL,
    open_time              timestamptz     NOT NULL,
    open                   numeric(28, 8)  NOT NULL,
    high                   numeric(28, 8)  NOT NULL,
    low                    numeric(28, 8)  NOT NULL,
    close                  numeric(28, 8)  NOT NULL,
    volume                 numeric(38, 8)  NOT NULL,
    quote_volume           numeric(38, 16) NOT NULL,
    trades                 bigint          NOT NULL,
    agg_trades             bigint          NOT NULL,
    taker_buy_volume       numeric(38, 8)  NOT NULL,
    taker_buy_quote_volume numeric(38, 16) NOT NULL,
    vwap                   numeric(38, 16),
    change                 numeric(38, 8),
    variance               numeric(38, 24) NOT NULL,
    volatility             numeric(38, 12) NOT NULL,
    days_traded            bigint          NOT NULL,
    first_date             date            NOT NULL,
    last_date              date            NOT NULL,
    PRIMARY KEY (market, symbol, open_time)
);

CREATE TABLE IF NOT EXISTS gold.source (
    only_row  boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    commit_id text        NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE gold.source IS 'the commit of the lake that the tables of this schema equal';

GRANT USAGE ON SCHEMA gold TO tickhouse_batch, tickhouse_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA gold TO tickhouse_batch;
GRANT SELECT ON ALL TABLES IN SCHEMA gold TO tickhouse_reader;
