-- One row per interval, market, symbol and day: candles compared with the trades of silver, and with each other.
WITH
minutes AS (
    SELECT
        market, symbol, stream, epoch_us("minute") AS us,
        arg_min(price, trade_id) AS open, max(price) AS high, min(price) AS low, arg_max(price, trade_id) AS close,
        sum(qty) AS volume, sum(quote_qty) AS quote_volume,
        sum(last_trade_id - first_trade_id + 1)::BIGINT AS trades, count(*) AS agg_trades,
        coalesce(sum(qty) FILTER (side = 'BUY'), 0) AS taker_buy_volume,
        min(trade_id) AS open_trade_id, max(trade_id) AS close_trade_id
    FROM silver WHERE NOT is_sentinel
    GROUP BY ALL
),
fullest AS (
    SELECT market, symbol, us // 86400000000 AS day, stream, sum(trades) AS total
    FROM minutes GROUP BY market, symbol, day, stream
    QUALIFY row_number() OVER (PARTITION BY market, symbol, day ORDER BY total DESC, stream) = 1
),
intervals(interval, step) AS (
    VALUES ('1m', 60000000), ('5m', 300000000), ('1h', 3600000000), ('1d', 86400000000)
),
wanted AS (
    SELECT
        interval, m.market, m.symbol, m.stream, m.us // step * step AS us,
        arg_min(open, open_trade_id) AS open, max(high) AS high, min(low) AS low,
        arg_max(close, close_trade_id) AS close,
        sum(volume) AS volume, sum(quote_volume) AS quote_volume, sum(trades)::BIGINT AS trades,
        sum(agg_trades)::BIGINT AS agg_trades, sum(taker_buy_volume) AS taker_buy_volume,
        min(open_trade_id) AS open_trade_id, max(close_trade_id) AS close_trade_id
    FROM minutes AS m
        JOIN fullest AS f ON (m.market, m.symbol, m.stream, m.us // 86400000000) = (f.market, f.symbol, f.stream, f.day)
        CROSS JOIN intervals
    GROUP BY ALL
),
stored AS (
    SELECT *, '1m' AS interval FROM candles_1m UNION ALL BY NAME SELECT *, '5m' AS interval FROM candles_5m
    UNION ALL BY NAME SELECT *, '1h' AS interval FROM candles_1h
    UNION ALL BY NAME SELECT *, '1d' AS interval FROM candles_1d
),
placed AS (
    SELECT
        s.* EXCLUDE (open_time, hour), step, epoch_us(open_time) AS us,
        lag(epoch_us(open_time)) OVER w AS earlier, lag(close) OVER w AS earlier_close,
        1e-12 + agg_trades * 1e-16 / nullif(quote_volume::DOUBLE, 0) AS leeway
    FROM stored AS s JOIN intervals USING (interval)
    WINDOW w AS (PARTITION BY interval, market, symbol ORDER BY open_time)
),
compared AS (
    SELECT
        coalesce(s.interval, w.interval) AS interval, coalesce(s.market, w.market) AS market,
        coalesce(s.symbol, w.symbol) AS symbol, coalesce(s.us, w.us) // 86400000000 AS day,
        s.us IS NULL AS is_missing,
        s.us IS NOT NULL AND s.agg_trades > 0 AND w.us IS NULL AS is_invented,
        s.agg_trades = 0 AND NOT (
            s.open = s.close AND s.high = s.close AND s.low = s.close AND s.vwap IS NULL
            AND s.volume = 0 AND s.quote_volume = 0 AND s.trades = 0 AND s.taker_buy_volume = 0
        ) AS is_noisy,
        s.agg_trades = 0 AND s.earlier_close IS NOT NULL AND s.open <> s.earlier_close AS is_adrift,
        s.earlier IS NOT NULL AND s.us - s.earlier <> s.step OR s.us % s.step <> 0 AS is_out_of_step,
        NOT (s.low <= least(s.open, s.close) AND greatest(s.open, s.close) <= s.high) AS is_out_of_bounds,
        -- On COIN-M the base coin of each trade is rounded at the 16th decimal, so the average may exceed its bounds by that.
        CASE WHEN s.vwap IS NULL THEN false
            WHEN s.market <> 'coinm' THEN NOT (s.vwap BETWEEN s.low AND s.high)
            ELSE NOT (s.vwap::DOUBLE BETWEEN s.low::DOUBLE * (1 - s.leeway) AND s.high::DOUBLE * (1 + s.leeway))
        END AS is_vwap_out_of_bounds,
        (s.open, s.high, s.low, s.close, s.open_trade_id, s.close_trade_id)
            IS DISTINCT FROM (w.open, w.high, w.low, w.close, w.open_trade_id, w.close_trade_id) AS has_other_prices,
        s.volume, s.quote_volume, s.trades, s.agg_trades, s.taker_buy_volume,
        w.volume AS qty, w.quote_volume AS quote_qty, w.trades AS single_trades, w.agg_trades AS events,
        w.taker_buy_volume AS buy_qty,
        CASE WHEN s.earlier_close > 0 THEN abs(s.close / s.earlier_close - 1)::DOUBLE END AS jump
    FROM placed AS s FULL JOIN wanted AS w
        ON (s.interval, s.market, s.symbol, s.stream, s.us) = (w.interval, w.market, w.symbol, w.stream, w.us)
)
SELECT
    interval, market, symbol, strftime(make_date(day::INTEGER), '%Y-%m-%d') AS "date",
    count(*) AS candles,
    count(*) FILTER (is_missing) AS missing,
    count(*) FILTER (is_invented) AS invented,
    count(*) FILTER (is_noisy) AS noisy_silence,
    count(*) FILTER (is_adrift) AS adrift,
    count(*) FILTER (is_out_of_step) AS out_of_step,
    count(*) FILTER (is_out_of_bounds) AS out_of_bounds,
    count(*) FILTER (is_vwap_out_of_bounds) AS vwap_out_of_bounds,
    count(*) FILTER (has_other_prices AND agg_trades > 0) AS other_prices,
    coalesce(sum(volume), 0)::VARCHAR AS volume, coalesce(sum(qty), 0)::VARCHAR AS qty,
    coalesce(sum(quote_volume), 0)::VARCHAR AS quote_volume, coalesce(sum(quote_qty), 0)::VARCHAR AS quote_qty,
    coalesce(sum(taker_buy_volume), 0)::VARCHAR AS taker_buy_volume, coalesce(sum(buy_qty), 0)::VARCHAR AS buy_qty,
    coalesce(sum(trades), 0)::BIGINT AS trades, coalesce(sum(single_trades), 0)::BIGINT AS single_trades,
    coalesce(sum(agg_trades), 0)::BIGINT AS agg_trades, coalesce(sum(events), 0)::BIGINT AS events,
    max(jump) FILTER (interval = '1m') AS jump
FROM compared
GROUP BY ALL
