-- Alerts: what rang, where the watcher is, and which notifications were delivered (docs/adr/0030-alerts.md).

CREATE SCHEMA alerts;

-- One row per alert. The row is written in the transaction that moves the watcher's offsets, and is sent to the topic
-- crypto.alerts afterwards, so an alert is never lost and a repeat is the same row.
CREATE TABLE alerts.alerts (
    alert_id     text        PRIMARY KEY,
    rule         text        NOT NULL,
    kind         text        NOT NULL,
    severity     text        NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    market       text,
    symbol       text,
    raised_at    timestamptz NOT NULL,
    is_historic  boolean     NOT NULL,
    document     json        NOT NULL,
    number       bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    published_at timestamptz
);
COMMENT ON TABLE alerts.alerts IS 'alerts that rang; document is the message of topic crypto.alerts';
COMMENT ON COLUMN alerts.alerts.number IS 'order of the rows, for readers that follow the table';
COMMENT ON COLUMN alerts.alerts.published_at IS 'when Kafka acknowledged it; NULL: still to be sent';
CREATE INDEX alerts_raised_at ON alerts.alerts (raised_at);
CREATE INDEX alerts_unpublished ON alerts.alerts (number) WHERE published_at IS NULL;

CREATE TABLE alerts.rule_states (
    key        text        PRIMARY KEY,
    state      json        NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE alerts.rule_states IS 'per rule and subject: whether it rings, and since when';

CREATE TABLE alerts.read_offsets (
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL,
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE alerts.read_offsets IS 'what the watcher has judged: it goes on from here after a crash';

-- One row per notification and channel: claimed before it is sent, completed after.
CREATE TABLE alerts.deliveries (
    alert_id     text        NOT NULL,
    channel      text        NOT NULL CHECK (channel IN ('file', 'webhook', 'email')),
    state        text        NOT NULL DEFAULT 'sending' CHECK (state IN ('sending', 'delivered', 'dead')),
    tries        integer     NOT NULL DEFAULT 1,
    error        text        NOT NULL DEFAULT '',
    first_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at timestamptz,
    PRIMARY KEY (alert_id, channel)
);
COMMENT ON TABLE alerts.deliveries IS 'notifications: which channel has which alert';
CREATE INDEX deliveries_updated_at ON alerts.deliveries (updated_at);

GRANT USAGE ON SCHEMA alerts TO tickhouse_watcher, tickhouse_notifier, tickhouse_reader, tickhouse_operator;
GRANT SELECT, INSERT, UPDATE ON alerts.alerts, alerts.rule_states, alerts.read_offsets TO tickhouse_watcher;
GRANT SELECT, INSERT, UPDATE ON alerts.deliveries TO tickhouse_notifier;
GRANT SELECT ON ALL TABLES IN SCHEMA alerts TO tickhouse_reader;
GRANT SELECT ON alerts.deliveries TO tickhouse_operator;
-- The watcher reads the minutes before a bar.
GRANT USAGE ON SCHEMA market TO tickhouse_watcher;
GRANT SELECT ON market.candles_1m TO tickhouse_watcher;
