-- Hourly candles of the last seven days of one symbol, added up from the live 1-minute candles.
SELECT
    date_trunc('hour', open_time, 'UTC') AS hour,
    (array_agg(open ORDER BY open_time))[1] AS open,
    max(high) AS high,
    min(low) AS low,
    (array_agg(close ORDER BY open_time DESC))[1] AS close,
    sum(volume) AS volume,
    sum(trades) AS trades
FROM market.candles
WHERE market = {{market}} AND symbol = {{symbol}}
  AND open_time > (
      SELECT max(open_time) FROM market.candles_1m WHERE market = {{market}} AND symbol = {{symbol}}
  ) - interval '7 days'
GROUP BY hour
ORDER BY hour
