-- Monthly candles of one symbol; change and volatility are of the whole month.
SELECT
    (open_time AT TIME ZONE 'UTC')::date AS month,
    open, high, low, close, volume, trades, days_traded,
    round(100 * change, 2) AS change_percent,
    round(100 * volatility, 2) AS volatility_percent
FROM gold.monthly
WHERE market = {{market}} AND symbol = {{symbol}}
ORDER BY month DESC
