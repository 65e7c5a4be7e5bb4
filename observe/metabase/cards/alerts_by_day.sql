-- Alerts of the last 90 days, by day and severity.
SELECT
    (raised_at AT TIME ZONE 'UTC')::date AS day,
    count(*) FILTER (WHERE severity = 'critical') AS critical,
    count(*) FILTER (WHERE severity = 'warning') AS warning,
    count(*) FILTER (WHERE severity = 'info') AS info
FROM alerts.alerts
WHERE raised_at > (SELECT max(raised_at) FROM alerts.alerts) - interval '90 days'
GROUP BY day
ORDER BY day
