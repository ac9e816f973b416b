"""The tables of one vault, step by step; steps are never edited once released."""

from __future__ import annotations

STEPS = (
    """
CREATE TABLE memory (
    memory_id     TEXT PRIMARY KEY,
    content       TEXT NOT NULL,
    title         TEXT,
    tags          TEXT NOT NULL DEFAULT '[]',
    memory_type   TEXT NOT NULL,
    occurred_at   TEXT NOT NULL,
    created_at    TEXT NOT NULL,
    updated_at    TEXT NOT NULL,
    revision      INTEGER NOT NULL DEFAULT 1,
    transcript_id TEXT REFERENCES transcript ON DELETE CASCADE,
    segment_id    TEXT,
    start_s       REAL,
    end_s         REAL,
    speaker       TEXT,
    speaker_keys  TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX memory_transcript ON memory (transcript_id);
CREATE TABLE transcript (
    transcript_id TEXT PRIMARY KEY,
    status        TEXT NOT NULL,
    edited        INTEGER NOT NULL DEFAULT 0,
    document      TEXT NOT NULL,
    summary       TEXT NOT NULL,
    title         TEXT NOT NULL,
    text          TEXT NOT NULL,
    tags          TEXT NOT NULL DEFAULT '[]',
    speakers      TEXT NOT NULL DEFAULT '[]',
    emotion       TEXT,
    created_at    TEXT NOT NULL,
    revision      INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE chunk (
    chunk_id  INTEGER PRIMARY KEY AUTOINCREMENT,
    memory_id TEXT NOT NULL REFERENCES memory ON DELETE CASCADE,
    heading   TEXT,
    content   TEXT NOT NULL,
    model     TEXT NOT NULL,
    vector    BLOB NOT NULL
);
CREATE INDEX chunk_memory ON chunk (memory_id);
CREATE VIRTUAL TABLE chunk_text USING fts5 (heading, content, content='chunk', content_rowid='chunk_id',
    tokenize='porter unicode61 remove_diacritics 2');
CREATE TRIGGER chunk_added AFTER INSERT ON chunk BEGIN
    INSERT INTO chunk_text (rowid, heading, content) VALUES (new.chunk_id, new.heading, new.content);
END;
CREATE TRIGGER chunk_removed AFTER DELETE ON chunk BEGIN
    INSERT INTO chunk_text (chunk_text, rowid, heading, content)
    VALUES ('delete', old.chunk_id, old.heading, old.content);
END;
INSERT INTO chunk_text (chunk_text, rank) VALUES ('secure-delete', 1);
CREATE TABLE conversation (
    conversation_id TEXT PRIMARY KEY,
    title           TEXT NOT NULL,
    created_at      TEXT NOT NULL,
    updated_at      TEXT NOT NULL,
    revision        INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE message (
    message_id      TEXT PRIMARY KEY,
    conversation_id TEXT NOT NULL REFERENCES conversation ON DELETE CASCADE,
    document        TEXT NOT NULL
);
CREATE INDEX message_conversation ON message (conversation_id, message_id);
""",
    """
ALTER TABLE transcript ADD COLUMN revised INTEGER NOT NULL DEFAULT 0;
ALTER TABLE transcript ADD COLUMN remembered INTEGER NOT NULL DEFAULT 1;
UPDATE transcript SET remembered = EXISTS (SELECT 1 FROM memory WHERE memory.transcript_id = transcript.transcript_id)
    WHERE text <> '';
CREATE TABLE transcript_revision (
    transcript_id TEXT NOT NULL REFERENCES transcript ON DELETE CASCADE,
    revision      INTEGER NOT NULL,
    at            TEXT NOT NULL,
    kind          TEXT NOT NULL,
    segment_id    TEXT,
    document      BLOB,
    PRIMARY KEY (transcript_id, revision)
);
""",
    """
CREATE TABLE document (
    document_id TEXT PRIMARY KEY,
    status      TEXT NOT NULL,
    details     TEXT NOT NULL,
    job_id      TEXT,
    created_at  TEXT NOT NULL
);
CREATE TABLE document_passage (
    memory_id   TEXT PRIMARY KEY REFERENCES memory ON DELETE CASCADE,
    document_id TEXT NOT NULL REFERENCES document ON DELETE CASCADE,
    page        INTEGER,
    offset      INTEGER NOT NULL,
    end_offset  INTEGER NOT NULL
);
CREATE INDEX document_passage_document ON document_passage (document_id);
CREATE TABLE retention (
    only  INTEGER PRIMARY KEY CHECK (only = 1),
    rules TEXT NOT NULL,
    run   TEXT
);
""",
    """
CREATE TABLE transcript_digest (
    transcript_id TEXT PRIMARY KEY REFERENCES transcript ON DELETE CASCADE,
    document      TEXT NOT NULL
);
""",
    """
CREATE TABLE fact (
    memory_id     TEXT PRIMARY KEY REFERENCES memory ON DELETE CASCADE,
    kind          TEXT NOT NULL,
    subject       TEXT NOT NULL,
    subject_key   TEXT NOT NULL,
    slot          TEXT NOT NULL,
    value         TEXT NOT NULL,
    text_hash     TEXT NOT NULL,
    state         TEXT NOT NULL,
    was           TEXT,
    reasons       TEXT NOT NULL DEFAULT '[]',
    confidence    REAL NOT NULL,
    valid_from    TEXT NOT NULL,
    valid_to      TEXT,
    on_date       TEXT,
    superseded_by TEXT REFERENCES fact ON DELETE SET NULL,
    model         TEXT NOT NULL,
    vector        BLOB NOT NULL,
    UNIQUE (subject_key, text_hash)
);
CREATE INDEX fact_slot ON fact (subject_key, slot);
CREATE INDEX fact_state ON fact (state);
CREATE TABLE fact_evidence (
    memory_id       TEXT NOT NULL REFERENCES fact ON DELETE CASCADE,
    source_id       TEXT NOT NULL,
    transcript_id   TEXT,
    conversation_id TEXT,
    segment_ids     TEXT NOT NULL DEFAULT '[]',
    start_s         REAL,
    end_s           REAL,
    said_by         TEXT NOT NULL,
    said_by_key     TEXT NOT NULL,
    speaker_keys    TEXT NOT NULL DEFAULT '[]',
    said_at         TEXT NOT NULL,
    quote           TEXT NOT NULL,
    PRIMARY KEY (memory_id, source_id, quote)
);
CREATE INDEX fact_evidence_source ON fact_evidence (source_id);
CREATE TABLE fact_source (
    source_id TEXT PRIMARY KEY,
    digest    TEXT NOT NULL
);
CREATE TABLE fact_refused (
    text_hash TEXT NOT NULL,
    owner     TEXT NOT NULL,
    PRIMARY KEY (text_hash, owner)
);
""",
    """
CREATE INDEX chunk_model ON chunk (model);
CREATE TABLE index_image (
    image_id TEXT PRIMARY KEY,
    stamp    TEXT NOT NULL
);
CREATE TABLE index_piece (
    image_id TEXT NOT NULL,
    number   INTEGER NOT NULL,
    data     BLOB NOT NULL,
    PRIMARY KEY (image_id, number)
);
""",
    """
CREATE INDEX memory_place ON memory (transcript_id, start_s, segment_id);
DROP INDEX memory_transcript;
""",
    """
CREATE TABLE change (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL,
    id      TEXT NOT NULL,
    deleted INTEGER NOT NULL,
    UNIQUE (kind, id)
);
CREATE TRIGGER memory_added AFTER INSERT ON memory
    WHEN new.memory_type <> 'transcript' OR new.transcript_id IS NULL BEGIN
    DELETE FROM change WHERE kind = 'memory' AND id = new.memory_id;
    INSERT INTO change (kind, id, deleted) VALUES ('memory', new.memory_id, 0);
END;
CREATE TRIGGER memory_is_a_passage AFTER INSERT ON document_passage BEGIN
    DELETE FROM change WHERE kind = 'memory' AND id = new.memory_id;
END;
CREATE TRIGGER memory_changed AFTER UPDATE ON memory
    WHEN EXISTS (SELECT 1 FROM change WHERE kind = 'memory' AND id = new.memory_id) BEGIN
    DELETE FROM change WHERE kind = 'memory' AND id = new.memory_id;
    INSERT INTO change (kind, id, deleted) VALUES ('memory', new.memory_id, 0);
END;
CREATE TRIGGER memory_gone AFTER DELETE ON memory
    WHEN EXISTS (SELECT 1 FROM change WHERE kind = 'memory' AND id = old.memory_id) BEGIN
    DELETE FROM change WHERE kind = 'memory' AND id = old.memory_id;
    INSERT INTO change (kind, id, deleted) VALUES ('memory', old.memory_id, 1);
END;
CREATE TRIGGER fact_added AFTER INSERT ON fact BEGIN
    DELETE FROM change WHERE kind = 'memory' AND id = new.memory_id;
    INSERT INTO change (kind, id, deleted) VALUES ('memory', new.memory_id, 0);
END;
CREATE TRIGGER fact_changed AFTER UPDATE OF state ON fact BEGIN
    DELETE FROM change WHERE kind = 'memory' AND id = new.memory_id;
    INSERT INTO change (kind, id, deleted) VALUES ('memory', new.memory_id, 0);
END;
CREATE TRIGGER transcript_added AFTER INSERT ON transcript BEGIN
    DELETE FROM change WHERE kind = 'recording' AND id = new.transcript_id;
    INSERT INTO change (kind, id, deleted) VALUES ('recording', new.transcript_id, 0);
END;
CREATE TRIGGER transcript_changed AFTER UPDATE ON transcript BEGIN
    DELETE FROM change WHERE kind = 'recording' AND id = new.transcript_id;
    INSERT INTO change (kind, id, deleted) VALUES ('recording', new.transcript_id, 0);
END;
CREATE TRIGGER transcript_gone AFTER DELETE ON transcript BEGIN
    DELETE FROM change WHERE kind = 'recording' AND id = old.transcript_id;
    INSERT INTO change (kind, id, deleted) VALUES ('recording', old.transcript_id, 1);
END;
CREATE TRIGGER conversation_added AFTER INSERT ON conversation BEGIN
    DELETE FROM change WHERE kind = 'conversation' AND id = new.conversation_id;
    INSERT INTO change (kind, id, deleted) VALUES ('conversation', new.conversation_id, 0);
END;
CREATE TRIGGER conversation_changed AFTER UPDATE ON conversation BEGIN
    DELETE FROM change WHERE kind = 'conversation' AND id = new.conversation_id;
    INSERT INTO change (kind, id, deleted) VALUES ('conversation', new.conversation_id, 0);
END;
CREATE TRIGGER conversation_gone AFTER DELETE ON conversation BEGIN
    DELETE FROM change WHERE kind = 'conversation' AND id = old.conversation_id;
    INSERT INTO change (kind, id, deleted) VALUES ('conversation', old.conversation_id, 1);
END;
INSERT INTO change (kind, id, deleted) SELECT 'recording', transcript_id, 0 FROM transcript ORDER BY transcript_id;
INSERT INTO change (kind, id, deleted) SELECT 'memory', memory_id, 0 FROM memory
    WHERE (memory_type <> 'transcript' OR transcript_id IS NULL)
    AND memory_id NOT IN (SELECT memory_id FROM document_passage) ORDER BY memory_id;
INSERT INTO change (kind, id, deleted) SELECT 'conversation', conversation_id, 0 FROM conversation
    ORDER BY conversation_id;
""",
)
