-- One row per stream of bronze: the events are well formed, and stored in the folder of their hour.
SELECT * EXCLUDE (fingerprint, newest_us) FROM bronze_streams
