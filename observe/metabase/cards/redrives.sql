-- Dead letters that were sent again, by topic and reason.
SELECT
    letter_topic, reason, target_topic,
    count(*) AS letters,
    count(*) FILTER (WHERE state = 'sent') AS sent,
    max(try) AS most_tries,
    max(at) AS last_at
FROM audit.redrives
GROUP BY letter_topic, reason, target_topic
ORDER BY last_at DESC
LIMIT 200
