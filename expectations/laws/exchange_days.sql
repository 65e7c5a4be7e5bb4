-- One row per symbol and day: the daily candle compared with the exchange's own daily kline, if the exchange answered.
SELECT
    c.market, c.symbol, strftime(c."date", '%Y-%m-%d') AS "date",
    coalesce(e.comparison, 'not compared: nobody asked') AS comparison,
    c.trades, e.trades AS exchange_trades,
    round(abs(c.trades - e.trades) / greatest(e.trades, 1), 6) AS trades_off,
    c.volume::VARCHAR AS volume, e.volume::VARCHAR AS exchange_volume,
    round(abs(c.volume::DOUBLE - e.volume::DOUBLE) / nullif(greatest(c.volume::DOUBLE, e.volume::DOUBLE), 0), 6) AS volume_off,
    c.quote_volume::VARCHAR AS quote_volume, e.quote_volume::VARCHAR AS exchange_quote_volume,
    round(abs(c.quote_volume::DOUBLE - e.quote_volume::DOUBLE)
        / nullif(greatest(c.quote_volume::DOUBLE, e.quote_volume::DOUBLE), 0), 6) AS quote_volume_off
FROM candles_1d AS c LEFT JOIN exchange_days AS e USING (market, symbol, "date")
