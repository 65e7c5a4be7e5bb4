CREATE TEMP TABLE IF NOT EXISTS stage (
    market text, symbol text, stream text, open_time timestamptz,
    agg_trades bigint, trades bigint, open_trade_id bigint, close_trade_id bigint,
    open numeric, high numeric, low numeric, close numeric, volume numeric, quote_volume numeric,
    taker_buy_volume numeric, taker_buy_quote_volume numeric, checksum numeric,
    contract_size numeric, round integer
) ON COMMIT DELETE ROWS
