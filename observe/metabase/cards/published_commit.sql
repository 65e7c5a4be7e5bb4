-- The commit of the lake that the daily tables equal, and the days in them.
SELECT
    left(source.commit_id, 12) AS commit,
    source.loaded_at,
    days.first_day,
    days.last_day,
    days.days
FROM gold.source
CROSS JOIN (
    SELECT
        min((open_time AT TIME ZONE 'UTC')::date) AS first_day,
        max((open_time AT TIME ZONE 'UTC')::date) AS last_day,
        count(DISTINCT open_time) AS days
    FROM gold.candles_1d
) AS days
