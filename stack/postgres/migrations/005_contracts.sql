-- COIN-M quantities count contracts (docs/adr/0018-contracts-are-not-coins.md). Bars that were made before this migration
-- hold price x contracts as their quote volume, which is neither dollars nor coins, and the trades that it would take to
-- put it right are not in this table. So these bars go, and so does the note that their trades were applied: the next
-- pass of the `candles` query over the topic (docs/how-to/rebuild-coin-m.md) makes them anew. Other markets keep
-- every row.

DELETE FROM market.candles_1m WHERE market = 'coinm';
DELETE FROM market.trade_ranges WHERE market = 'coinm';

COMMENT ON COLUMN market.candles_1m.volume IS 'base asset on spot and USD-M; number of contracts on COIN-M';
COMMENT ON COLUMN market.candles_1m.quote_volume IS
    'quote asset on spot and USD-M: sum of price x qty; base coin on COIN-M: sum of qty x contract size / price';
COMMENT ON COLUMN market.candles_1m.vwap IS
    'a price on every market: quote_volume / volume; on COIN-M volume x contract size / quote_volume';
COMMENT ON COLUMN market.candles_1m.taker_buy_volume IS 'of volume, what takers bought';
COMMENT ON COLUMN market.candles_1m.taker_buy_quote_volume IS 'of quote_volume, what takers bought';
