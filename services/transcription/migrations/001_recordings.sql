CREATE TABLE recording (
    recording_id text PRIMARY KEY,
    owner        text NOT NULL,
    status       text NOT NULL DEFAULT 'queued',
    job_id       text,
    sealed       bytea NOT NULL,
    size_bytes   bigint NOT NULL,
    sha256       text NOT NULL,
    duration_s   double precision,
    channels     int,
    error        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
);
CREATE INDEX recording_owner ON recording (owner, recording_id DESC);
CREATE INDEX recording_unqueued ON recording (created_at) WHERE job_id IS NULL;

-- What a stage has made so far, sealed under the owner's key; gone once the transcript is in the vault.
CREATE TABLE recording_part (
    recording_id text NOT NULL REFERENCES recording ON DELETE CASCADE,
    stage        text NOT NULL,
    part         int NOT NULL,
    sealed       bytea NOT NULL,
    PRIMARY KEY (recording_id, stage, part)
);
