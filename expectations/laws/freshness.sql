-- One row: the newest candle of gold is that of the newest trade of bronze.
SELECT
    (SELECT strftime(make_timestamp(max(newest_us) // 60000000 * 60000000), '%Y-%m-%dT%H:%M') FROM bronze_streams)
        AS newest_trade,
    (SELECT strftime(make_timestamp(max(epoch_us(open_time))), '%Y-%m-%dT%H:%M') FROM candles_1m WHERE agg_trades > 0)
        AS newest_candle
