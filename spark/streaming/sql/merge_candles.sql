-- Merges one round of the stage table, in which no bar occurs twice, into the bars. The VWAP is the exact quotient, rounded
-- half up at 16 decimals: floor((2 q 10^16 + v) / 2 v) / 10^16. PostgreSQL rounds a quotient to a scale of its own choice, so
-- rounding it again would round twice. On COIN-M volume counts contracts and quote volume is in base coin, so the VWAP is
-- volume x contract size / quote volume (schemas/contracts.py). Rows of other markets have no contract size.
INSERT INTO market.candles_1m AS c (
    market, symbol, stream, open_time, open, high, low, close, volume, quote_volume, vwap, trades, agg_trades,
    taker_buy_volume, taker_buy_quote_volume, open_trade_id, close_trade_id, checksum)
SELECT
    market, symbol, stream, open_time, open, high, low, close, volume, quote_volume,
    CASE WHEN contract_size IS NULL THEN div(2 * quote_volume * 1e16 + volume, 2 * volume)
        ELSE div(2 * volume * contract_size * 1e16 + quote_volume, 2 * quote_volume) END * 1e-16, trades, agg_trades,
    taker_buy_volume, taker_buy_quote_volume, open_trade_id, close_trade_id, mod(checksum, 18446744073709551616)
FROM stage
WHERE round = %s AND agg_trades > 0
ON CONFLICT (market, symbol, stream, open_time) DO UPDATE SET
    open = CASE WHEN excluded.open_trade_id < c.open_trade_id THEN excluded.open ELSE c.open END,
    close = CASE WHEN excluded.close_trade_id > c.close_trade_id THEN excluded.close ELSE c.close END,
    high = greatest(c.high, excluded.high),
    low = least(c.low, excluded.low),
    volume = c.volume + excluded.volume,
    quote_volume = c.quote_volume + excluded.quote_volume,
    vwap = CASE WHEN c.market <> 'coinm' THEN
            div(2 * (c.quote_volume + excluded.quote_volume) * 1e16 + (c.volume + excluded.volume),
                2 * (c.volume + excluded.volume))
        ELSE
            div(2 * (c.volume + excluded.volume) * 1e16
                    * (SELECT max(contract_size) FROM stage WHERE (market, symbol) = (c.market, c.symbol))
                    + (c.quote_volume + excluded.quote_volume),
                2 * (c.quote_volume + excluded.quote_volume))
        END * 1e-16,
    trades = c.trades + excluded.trades,
    agg_trades = c.agg_trades + excluded.agg_trades,
    taker_buy_volume = c.taker_buy_volume + excluded.taker_buy_volume,
    taker_buy_quote_volume = c.taker_buy_quote_volume + excluded.taker_buy_quote_volume,
    open_trade_id = least(c.open_trade_id, excluded.open_trade_id),
    close_trade_id = greatest(c.close_trade_id, excluded.close_trade_id),
    checksum = mod(c.checksum + excluded.checksum, 18446744073709551616),
    updated_at = clock_timestamp()
