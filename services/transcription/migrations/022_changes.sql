-- What clients that keep a copy have to hear of: the last change of each thing, a deletion too.
CREATE SEQUENCE recording_change_seq;
CREATE TABLE recording_change (
    owner   text NOT NULL,
    kind    text NOT NULL,
    id      text NOT NULL,
    seq     bigint NOT NULL,
    deleted boolean NOT NULL,
    PRIMARY KEY (owner, kind, id)
);
CREATE INDEX recording_change_seq_of_owner ON recording_change (owner, seq);

-- Numbers of one owner become visible in their order: who reads up to 7 has not missed a 5 that was committed later.
-- The triggers are deferred, so this lock is the last that a transaction takes, and none waits for another in a circle.
CREATE FUNCTION note_recording_change(whose text, what text, which text, gone boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1815, hashtext(whose));
    INSERT INTO recording_change (owner, kind, id, seq, deleted)
        VALUES (whose, what, which, nextval('recording_change_seq'), gone)
        ON CONFLICT (owner, kind, id) DO UPDATE SET seq = excluded.seq, deleted = excluded.deleted;
END $$;

CREATE FUNCTION recording_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    it recording := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM note_recording_change(it.owner, 'recording', it.recording_id, TG_OP = 'DELETE' OR it.status = 'deleting');
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER recording_came_or_went AFTER INSERT OR DELETE ON recording
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION recording_changed();
CREATE CONSTRAINT TRIGGER recording_changed AFTER UPDATE ON recording
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.sealed IS DISTINCT FROM NEW.sealed)
    EXECUTE FUNCTION recording_changed();

CREATE FUNCTION speaker_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    it speaker := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM note_recording_change(it.owner, 'speaker', it.speaker_id, TG_OP = 'DELETE');
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER speaker_changed AFTER INSERT OR UPDATE OR DELETE ON speaker
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION speaker_changed();

INSERT INTO recording_change
    SELECT owner, 'recording', recording_id, nextval('recording_change_seq'), status = 'deleting'
    FROM recording ORDER BY recording_id;
INSERT INTO recording_change
    SELECT owner, 'speaker', speaker_id, nextval('recording_change_seq'), false FROM speaker ORDER BY speaker_id;
