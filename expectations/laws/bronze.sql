-- One row a stream: what was received is well formed and lies where its time says.
SELECT * EXCLUDE (fingerprint, newest_us) FROM bronze_streams
