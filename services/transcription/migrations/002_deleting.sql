-- A deletion leaves an empty row behind while a worker may still be at the recording; the tidying removes it.
ALTER TABLE recording ADD COLUMN error_code text;
CREATE INDEX recording_deleting ON recording (finished_at) WHERE status = 'deleting';
