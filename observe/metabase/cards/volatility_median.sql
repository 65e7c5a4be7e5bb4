-- Median daily volatility of each symbol over the last 30 published days, with the calmest and the wildest day.
SELECT
    symbol,
    count(*) AS days,
    round(100 * (percentile_cont(0.5) WITHIN GROUP (ORDER BY volatility))::numeric, 4) AS median_percent,
    round(100 * min(volatility), 4) AS calmest_percent,
    round(100 * max(volatility), 4) AS wildest_percent
FROM gold.volatility
WHERE market = {{market}}
  AND open_time > (SELECT max(open_time) FROM gold.volatility WHERE market = {{market}}) - interval '30 days'
GROUP BY symbol
ORDER BY median_percent DESC, symbol
LIMIT 50
