-- A claim walks the queue in its order and stops at the first row that fits; sorting 10,000 rows for each took 18 ms.
DROP INDEX task_waiting;
CREATE INDEX task_waiting ON task (task_class DESC, priority DESC, task_id) WHERE state = 'queued';

CREATE FUNCTION task_event_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'task_event is append-only';
END $$;
CREATE TRIGGER task_event_stays BEFORE UPDATE ON task_event FOR EACH STATEMENT EXECUTE FUNCTION task_event_stays();
