-- Who holds a device's memory. Moments are seconds since 1970 by this database's clock: the only clock that counts.
ALTER TABLE device
    ADD COLUMN leader text,
    ADD COLUMN leader_until double precision NOT NULL DEFAULT 0,
    ADD COLUMN free_bytes bigint,
    ADD COLUMN alarm text;

CREATE TABLE holder (
    device_id      text NOT NULL REFERENCES device ON DELETE CASCADE,
    holder_id      text NOT NULL,
    version        bigint NOT NULL DEFAULT 0,
    bytes_resident bigint NOT NULL CHECK (bytes_resident >= 0),
    bytes_parked   bigint NOT NULL CHECK (bytes_parked >= 0),
    used_bytes     bigint NOT NULL DEFAULT 0,
    kinds          text[] NOT NULL DEFAULT '{}',
    instance       text,
    desired        text NOT NULL CHECK (desired IN ('parked', 'resident')),
    observed       text NOT NULL CHECK (observed IN
        ('parked', 'waking', 'resident', 'draining', 'parking', 'unknown', 'fencing', 'quarantined')),
    turn           boolean NOT NULL DEFAULT false,
    epoch          bigint NOT NULL,
    acked_epoch    bigint NOT NULL DEFAULT 0,
    done_epoch     bigint NOT NULL DEFAULT 0,
    heartbeat      double precision NOT NULL,
    commanded      double precision NOT NULL DEFAULT 0,
    deadline       double precision,
    done_at        double precision,
    wants          text,
    wants_since    double precision,
    idle           boolean NOT NULL DEFAULT false,
    interactive_at double precision,
    turned_at      double precision,
    quantum_until  double precision,
    failures       int NOT NULL DEFAULT 0,
    wake_ms        double precision,
    why            text,
    PRIMARY KEY (device_id, holder_id)
) WITH (fillfactor = 50);

CREATE FUNCTION holder_epoch_rises() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.epoch < OLD.epoch THEN
        RAISE EXCEPTION 'the epoch of a holder only rises';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER holder_epoch_rises BEFORE UPDATE OF epoch ON holder FOR EACH ROW EXECUTE FUNCTION holder_epoch_rises();

CREATE TABLE swap_log (
    swap_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id   text NOT NULL,
    holder_id   text NOT NULL,
    epoch       bigint NOT NULL,
    what        text NOT NULL,
    why         text NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    received_ms double precision,
    done_ms     double precision,
    free_ms     double precision,
    bytes       bigint NOT NULL DEFAULT 0,
    outcome     text
);
CREATE INDEX swap_log_holder ON swap_log (device_id, holder_id, epoch);
CREATE INDEX swap_log_at ON swap_log (device_id, at);

CREATE TABLE memory_sample (
    device_id  text NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    free_bytes bigint,
    used       jsonb NOT NULL
);
CREATE INDEX memory_sample_at ON memory_sample (device_id, at);

ALTER TABLE task ADD COLUMN holder_id text, ADD COLUMN device_id text;
CREATE INDEX task_held ON task (device_id, holder_id) WHERE state IN ('running', 'preempting');
DROP INDEX task_leased;
CREATE INDEX task_leased ON task (lease_until) WHERE state IN ('running', 'preempting');
