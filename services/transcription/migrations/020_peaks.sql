-- The waveform of a recording, packed and sealed under the owner's key; it goes with the recording.
CREATE TABLE recording_peaks (
    recording_id text PRIMARY KEY REFERENCES recording ON DELETE CASCADE,
    sealed       bytea NOT NULL
);
