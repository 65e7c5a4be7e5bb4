-- What retention removed from the stores of events, newest first.
SELECT store, item, event_from, event_until, rows, bytes, why, state, coalesce(removed_at, planned_at) AS at
FROM audit.removals
ORDER BY at DESC
LIMIT 200
