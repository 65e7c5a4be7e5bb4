-- How far the newest candle of each symbol is behind the newest candle of its market, the furthest first.
SELECT
    market, symbol,
    max(open_time) AS newest_candle,
    max(updated_at) AS written_at,
    round(extract(epoch FROM max(max(open_time)) OVER (PARTITION BY market) - max(open_time)) / 60) AS minutes_behind
FROM market.candles_1m
GROUP BY market, symbol
ORDER BY minutes_behind DESC, market, symbol
LIMIT 200
