-- One row per market, symbol and month: a month is the sum of its days.
WITH days AS (
    SELECT
        market, symbol, date_trunc('month', "date")::DATE AS "month",
        sum(volume) AS volume, sum(quote_volume) AS quote_volume, sum(trades)::BIGINT AS trades,
        arg_max(close, "date") AS close, count(*) FILTER (agg_trades > 0) AS days_traded, max("date") AS last_date
    FROM month_days GROUP BY ALL
),
variances AS (
    SELECT market, symbol, date_trunc('month', "date")::DATE AS "month", sum(variance) AS variance
    FROM month_volatility GROUP BY ALL
)
SELECT
    market, symbol, strftime("month", '%Y-%m') AS "month",
    m.symbol IS NULL AS is_missing, d.symbol IS NULL AS is_invented,
    m.volume::VARCHAR AS volume, d.volume::VARCHAR AS volume_of_days,
    m.quote_volume::VARCHAR AS quote_volume, d.quote_volume::VARCHAR AS quote_volume_of_days,
    m.trades, d.trades AS trades_of_days,
    m.close::VARCHAR AS close, d.close::VARCHAR AS close_of_last_day,
    m.variance::VARCHAR AS variance, coalesce(v.variance, 0)::DECIMAL(38, 24)::VARCHAR AS variance_of_days,
    m.days_traded, d.days_traded AS days_with_trades,
    m.last_date::VARCHAR AS last_date, d.last_date::VARCHAR AS last_day
FROM (SELECT * EXCLUDE (open_time), open_time::DATE AS "month" FROM monthly) AS m FULL JOIN days AS d USING (market, symbol, "month")
    LEFT JOIN variances AS v USING (market, symbol, "month")
