CREATE TABLE device (
    device_id          text PRIMARY KEY,
    kind               text NOT NULL CHECK (kind IN ('cpu', 'cuda', 'fake')),
    memory_total_bytes bigint NOT NULL CHECK (memory_total_bytes > 0),
    reserve_bytes      bigint NOT NULL DEFAULT 0,
    leader_epoch       bigint NOT NULL DEFAULT 0,
    seen_at            timestamptz NOT NULL DEFAULT now()
);

CREATE SEQUENCE task_token;

CREATE TABLE task (
    task_id          text PRIMARY KEY,
    kind             text NOT NULL,
    owner            text,
    task_class       text NOT NULL CHECK (task_class IN ('interactive', 'background')),
    priority         int NOT NULL,
    state            text NOT NULL DEFAULT 'queued',
    payload          jsonb NOT NULL,
    cursor           jsonb,
    progress         jsonb NOT NULL DEFAULT '{}',
    token            bigint NOT NULL DEFAULT 0,
    worker           text,
    lease_until      timestamptz,
    run_after        timestamptz NOT NULL DEFAULT now(),
    attempt          int NOT NULL DEFAULT 0,
    max_attempts     int NOT NULL,
    idempotency_key  text,
    cancel_requested boolean NOT NULL DEFAULT false,
    result           jsonb,
    error            text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz
) WITH (fillfactor = 80);

CREATE INDEX task_waiting ON task (kind, task_class, priority DESC, task_id) WHERE state = 'queued';
CREATE INDEX task_leased ON task (lease_until) WHERE state = 'running';
CREATE INDEX task_owner ON task (owner, task_id DESC);
CREATE UNIQUE INDEX task_idempotency ON task (kind, coalesce(owner, ''), idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE task_event (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id  text NOT NULL REFERENCES task ON DELETE CASCADE,
    state    text NOT NULL,
    token    bigint NOT NULL,
    detail   text,
    at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX task_event_task ON task_event (task_id, event_id);
