-- A live recording is one whose sound is still coming; it is finished by itself when nobody has sent any for long.
ALTER TABLE recording ADD COLUMN heard_at timestamptz;
CREATE INDEX recording_live ON recording (heard_at) WHERE status = 'live';
