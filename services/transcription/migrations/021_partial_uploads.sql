-- Uploads that come in pieces. What the user said of them is sealed; the bytes are in a journal beside the recordings.
CREATE TABLE partial_upload (
    upload_id    text PRIMARY KEY,
    owner        text NOT NULL,
    recording_id text NOT NULL,
    sealed       bytea NOT NULL,
    length_bytes bigint NOT NULL,
    expires_at   timestamptz NOT NULL,
    finished_at  timestamptz
);
CREATE INDEX partial_upload_owner ON partial_upload (owner);
CREATE INDEX partial_upload_expires ON partial_upload (expires_at);
