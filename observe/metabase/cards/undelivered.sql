-- Notifications that are not delivered, and those that needed more than one try, newest first.
SELECT
    deliveries.updated_at, alerts.rule, alerts.severity, deliveries.channel, deliveries.state, deliveries.tries,
    left(deliveries.error, 200) AS error
FROM alerts.deliveries
JOIN alerts.alerts USING (alert_id)
WHERE deliveries.state <> 'delivered' OR deliveries.tries > 1
ORDER BY deliveries.updated_at DESC
LIMIT 200
