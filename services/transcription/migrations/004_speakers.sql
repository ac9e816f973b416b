-- Speakers whom a user named and samples of their voices, sealed under the owner's key.
CREATE TABLE speaker (
    owner      text NOT NULL,
    speaker_id text NOT NULL,
    sealed     bytea NOT NULL,
    revision   int NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, speaker_id)
);
CREATE TABLE voiceprint (
    print_id   text PRIMARY KEY,
    owner      text NOT NULL,
    speaker_id text NOT NULL,
    sealed     bytea NOT NULL,
    FOREIGN KEY (owner, speaker_id) REFERENCES speaker ON DELETE CASCADE
);
CREATE INDEX voiceprint_speaker ON voiceprint (owner, speaker_id);

-- How each label of a recording sounds, so that a name given later reaches earlier recordings too.
CREATE TABLE recording_voice (
    recording_id text NOT NULL REFERENCES recording ON DELETE CASCADE,
    label        text NOT NULL,
    owner        text NOT NULL,
    sealed       bytea NOT NULL,
    PRIMARY KEY (recording_id, label)
);
CREATE INDEX recording_voice_owner ON recording_voice (owner, recording_id DESC);

-- What a naming changed, so that it can be taken back.
CREATE TABLE naming (
    undo_id    text PRIMARY KEY,
    owner      text NOT NULL,
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX naming_owner ON naming (owner);
