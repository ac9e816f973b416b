-- Which routes a recording came by, in the clear: the list of calls is asked for by it.
ALTER TABLE recording ADD COLUMN family text;
CREATE INDEX recording_family ON recording (owner, family, recording_id DESC) WHERE family IS NOT NULL;
