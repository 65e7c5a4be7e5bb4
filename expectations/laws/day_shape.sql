-- One row per stream and day: whether it looks like a whole day of this symbol. It is compared with the 1m candles of up to
-- `history_days` earlier days at this commit. First and last times are those of trades that are not void.
WITH
-- Silences within one minute are ignored, because they are too short to matter.
gaps AS (
    SELECT *, first_us - lag(last_us) OVER (PARTITION BY market, symbol, stream, "date" ORDER BY minute_number) AS gap_us
    FROM silver_minutes WHERE first_us IS NOT NULL
),
times AS (
    SELECT
        market, symbol, stream, "date",
        min(first_us) AS first_us, max(last_us) AS last_us, max(gap_us) AS gap_us,
        sum(trades - void_trades)::BIGINT AS real_trades, sum(buys)::BIGINT AS buys
    FROM gaps GROUP BY ALL
),
counts AS (
    SELECT market, symbol, stream, "date", sum(trades)::BIGINT AS trades, sum(void_trades)::BIGINT AS void_trades
    FROM silver_minutes GROUP BY ALL
),
-- Minutes with a trade, and the silence before each of them, also across midnight.
minutes AS (
    SELECT
        market, symbol, stream, "date",
        epoch_us(open_time) - lag(epoch_us(open_time)) OVER (PARTITION BY market, symbol ORDER BY open_time) AS gap_us
    FROM (
        SELECT market, symbol, stream, "date", open_time FROM candles_before WHERE agg_trades > 0
        UNION SELECT market, symbol, stream, "date", open_time FROM candles_1m WHERE agg_trades > 0
    )
),
past_days AS (
    SELECT market, symbol, any_value(stream) AS stream, "date", max(gap_us) AS gap_us FROM minutes GROUP BY ALL
),
history AS (
    SELECT
        d.market, d.symbol, any_value(p.stream) AS stream, d."date", count(*) AS history_days,
        median(p.gap_us) / 1e6 AS usual_silence_s
    FROM (SELECT DISTINCT p.market, p.symbol, a."date" FROM past_days AS p CROSS JOIN audit_days AS a) AS d
        JOIN past_days AS p ON (p.market, p.symbol) = (d.market, d.symbol)
            AND p."date" BETWEEN d."date" - threshold('history_days')::INTEGER AND d."date" - 1
    GROUP BY d.market, d.symbol, d."date"
),
measured AS (
    SELECT
        coalesce(c.market, h.market) AS market, coalesce(c.symbol, h.symbol) AS symbol,
        coalesce(c.stream, h.stream) AS stream, coalesce(c."date", h."date") AS "date",
        coalesce(c.trades, 0) AS trades, coalesce(c.void_trades, 0) AS void_trades, coalesce(t.real_trades, 0) AS real_trades,
        t.buys, t.first_us, t.last_us, t.gap_us / 1e6 AS inner_silence_s,
        coalesce(h.history_days, 0) AS history_days, h.usual_silence_s
    FROM counts AS c
        LEFT JOIN times AS t USING (market, symbol, stream, "date")
        FULL JOIN history AS h ON (c.market, c.symbol, c."date") = (h.market, h.symbol, h."date")
),
rated AS (
    SELECT
        m.*, a.from_us, a.until_us,
        coalesce(
            greatest(m.usual_silence_s, threshold('least_usual_silence_s')), threshold('usual_silence_without_history_s')
        ) AS basis_s,
        (coalesce(m.first_us, a.until_us) - a.from_us) / 1e6 AS before_first_s,
        greatest(a.until_us - coalesce(m.last_us, a.from_us), 0) / 1e6 AS after_last_s
    FROM measured AS m JOIN audit_days AS a USING ("date")
)
SELECT
    market, symbol, stream, strftime("date", '%Y-%m-%d') AS "date",
    trades, void_trades, CASE WHEN trades > 0 THEN round(void_trades / trades, 6) END AS void_share,
    CASE WHEN real_trades >= threshold('least_trades_to_judge_sides')
        THEN round(greatest(buys, real_trades - buys) / real_trades, 6) END AS one_side_share,
    strftime(make_timestamp(first_us), '%H:%M:%S') AS first_trade, strftime(make_timestamp(last_us), '%H:%M:%S') AS last_trade,
    history_days, round(usual_silence_s, 1) AS usual_silence_s, round(inner_silence_s, 1) AS longest_silence_s,
    round(inner_silence_s / basis_s, 3) AS silence_ratio,
    round(before_first_s, 1) AS before_first_s, round(before_first_s / basis_s, 3) AS late_start_ratio,
    round(after_last_s, 1) AS after_last_s, round(after_last_s / basis_s, 3) AS early_end_ratio,
    trades = 0 AS is_absent
FROM rated
