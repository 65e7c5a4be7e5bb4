-- One row per market and day: the daily tables compared with the daily candles.
WITH
days AS (
    SELECT market, symbol, "date", open_time, open, close, agg_trades FROM candles_1d
),
movers AS (
    SELECT
        d.market, d."date", count(*) FILTER (d.agg_trades > 0) AS traded, count(m.symbol) AS movers,
        -- `change` is rounded once, at the eighth decimal.
        count(*) FILTER (abs((m.change + 1)::DOUBLE - (d.close / d.open)::DOUBLE) > 1e-8
            OR (m.open, m.close) IS DISTINCT FROM (d.open, d.close) AND m.symbol IS NOT NULL) AS wrong_changes,
        count(DISTINCT rank_gain) AS gain_places, coalesce(max(rank_gain), 0) AS last_gain,
        count(DISTINCT rank_loss) AS loss_places, coalesce(max(rank_loss), 0) AS last_loss
    FROM days AS d LEFT JOIN top_movers AS m USING (market, symbol, open_time)
    GROUP BY ALL
),
disorder AS (
    SELECT market, "date", count(*) FILTER (later > change) AS disordered
    FROM (
        SELECT *, lead(change) OVER (PARTITION BY market, "date" ORDER BY rank_gain) AS later FROM top_movers
    ) GROUP BY ALL
),
swings AS (
    SELECT
        d.market, d."date", count(*) AS symbols, count(v.symbol) AS volatilities,
        count(*) FILTER (v.variance < 0 OR v.volatility < 0 OR v.span < 0) AS negative,
        count(*) FILTER (abs(v.volatility::DOUBLE * v.volatility::DOUBLE - v.variance::DOUBLE) > 1e-9) AS wrong_roots
    FROM days AS d LEFT JOIN volatility AS v USING (market, symbol, open_time)
    GROUP BY ALL
),
sessions AS (
    SELECT
        h.market, h."date", count(*) AS "hours", count(v.symbol) AS vwap_hours,
        count(*) FILTER (v.vwap IS DISTINCT FROM h.vwap) AS other_vwap
    FROM candles_1h AS h LEFT JOIN vwap AS v USING (market, symbol, open_time)
    GROUP BY ALL
)
SELECT * REPLACE (strftime("date", '%Y-%m-%d') AS "date")
FROM movers
    LEFT JOIN disorder USING (market, "date")
    LEFT JOIN swings USING (market, "date")
    LEFT JOIN sessions USING (market, "date")
