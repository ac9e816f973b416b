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
CREATE INDEX memory_place ON memory (transcript_id, start_s, segment_id);
DROP INDEX memory_transcript;
""",
)
