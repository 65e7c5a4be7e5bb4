-- A comment on every table and column that an analyst reads: psql shows them with \d+, and Metabase beside each column.
DO $$
DECLARE
    relation record;
    field    record;
BEGIN
    FOR relation IN SELECT * FROM (VALUES
        ('market.candles', '1-minute bars of each symbol: of its two streams the one with more trades, aggTrade if they are equal'),
        ('market.candles_1m', '1-minute OHLC bars, one per symbol and stream, partitioned by month of open time'),
        ('gold.candles_1d', 'OHLC bars of each published day, as of the lake commit in gold.source'),
        ('gold.top_movers', 'change and places of each symbol on each published day'),
        ('gold.volatility', 'volatility of each symbol on each published day'),
        ('gold.monthly', 'OHLC bar, VWAP, change and variance of each published month')
    ) AS named (name, text) LOOP
        EXECUTE format('COMMENT ON %s %s IS %L',
            (SELECT CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END FROM pg_class WHERE oid = relation.name::regclass),
            relation.name, relation.text);
    END LOOP;
    -- The first text whose relations match; one that stands for itself comes before the general one.
    FOR field IN
        SELECT DISTINCT ON (c.oid, a.attname) c.oid::regclass AS name, a.attname, texts.text
        FROM (VALUES
            (1, 'gold.monthly', 'open_time', 'first day of the month, 00:00 UTC'),
            (1, 'gold.monthly', 'change', 'close / open - 1'),
            (1, 'gold.monthly', 'variance', 'sum of the variances of the days'),
            (1, 'gold.%', 'open_time', 'the day, 00:00 UTC'),
            (1, 'market.trade_ranges', 'updated_at', 'when ids were last added'),
            (2, '%', 'market', 'spot, usdm (USD-M futures) or coinm (COIN-M futures)'),
            (2, '%', 'symbol', 'the exchange''s own symbol, such as BTCUSDT'),
            (2, '%', 'stream', 'aggTrade (aggregate trades) or trade (single trades)'),
            (2, '%', 'open_time', 'start of the minute, UTC'),
            (2, '%', 'open', 'price of the trade with the lowest id'),
            (2, '%', 'high', 'highest price'),
            (2, '%', 'low', 'lowest price'),
            (2, '%', 'close', 'price of the trade with the highest id'),
            (2, '%', 'volume', 'base asset on spot and USD-M; number of contracts on COIN-M'),
            (2, '%', 'quote_volume', 'quote asset on spot and USD-M; base coin on COIN-M'),
            (2, '%', 'vwap', 'average price weighted by volume'),
            (2, '%', 'trades', 'single trades: sum of last - first + 1'),
            (2, '%', 'agg_trades', 'event ids in the bar'),
            (2, '%', 'taker_buy_volume', 'of volume, what takers bought'),
            (2, '%', 'taker_buy_quote_volume', 'of quote_volume, what takers bought'),
            (2, '%', 'open_trade_id', 'lowest id in the bar'),
            (2, '%', 'close_trade_id', 'highest id in the bar'),
            (2, '%', 'checksum', 'sum modulo 2^64 of the first 15 hex digits of md5(trade_id|price|qty|side|trade_time_us)'),
            (2, '%', 'updated_at', 'when the bar was last written'),
            (2, '%', 'seen', 'the ids of the block that the bars hold'),
            (2, '%', 'quote', 'quote asset of the symbol'),
            (2, '%', 'change', 'close / open - 1'),
            (2, '%', 'rank_gain', 'place by change within the market, 1 is the highest'),
            (2, '%', 'rank_loss', 'place by change within the market, 1 is the lowest'),
            (2, '%', 'rank_turnover', 'place by turnover among the symbols of the market and quote asset'),
            (2, '%', 'returns', 'number of 1-minute returns'),
            (2, '%', 'variance', 'sum of squared 1-minute returns'),
            (2, '%', 'volatility', 'square root of variance'),
            (2, '%', 'span', '(high - low) / low'),
            (2, '%', 'days_traded', 'days with trades'),
            (2, '%', 'first_date', 'first day with trades'),
            (2, '%', 'last_date', 'last day with trades'),
            (2, 'gold.source', 'only_row', 'true: the table has one row'),
            (2, 'gold.source', 'commit_id', 'commit of the lake that the tables equal'),
            (2, 'gold.source', 'loaded_at', 'when they were made equal to it')
        ) AS texts (place, relations, attname, text)
        JOIN pg_attribute AS a ON a.attname = texts.attname AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
        JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname IN ('market', 'gold')
        WHERE n.nspname || '.' || c.relname LIKE texts.relations
            AND (c.relkind = 'v' OR col_description(c.oid, a.attnum) IS NULL)
        ORDER BY c.oid, a.attname, texts.place
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', field.name, field.attname, field.text);
    END LOOP;
END
$$;
