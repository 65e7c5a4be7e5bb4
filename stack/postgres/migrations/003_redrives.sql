-- What `tickhouse dlq redrive` sent again: one row a dead letter (tickhouse/dlq/audit.py). Rows are never removed.

CREATE SCHEMA IF NOT EXISTS audit;

CREATE TABLE IF NOT EXISTS audit.redrives (
    letter_topic     text        NOT NULL,
    letter_partition integer     NOT NULL,
    letter_offset    bigint      NOT NULL,
    fingerprint      text        NOT NULL,
    event_id         text,
    reason           text        NOT NULL,
    target_topic     text        NOT NULL,
    try              integer     NOT NULL CHECK (try BETWEEN 1 AND 3),
    state            text        NOT NULL DEFAULT 'sending' CHECK (state IN ('sending', 'sent')),
    by_user          text        NOT NULL,
    at               timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at          timestamptz,
    PRIMARY KEY (letter_topic, letter_partition, letter_offset),
    UNIQUE (fingerprint, try)
);
COMMENT ON TABLE audit.redrives IS 'dead letters that were sent again; tries of one record share a fingerprint';
COMMENT ON COLUMN audit.redrives.fingerprint IS 'sha256 of target topic, key and value';

GRANT USAGE ON SCHEMA audit TO tickhouse_operator, tickhouse_reader;
GRANT SELECT, INSERT, UPDATE ON audit.redrives TO tickhouse_operator;
GRANT SELECT ON audit.redrives TO tickhouse_reader;
