-- Used with RAG_INDEX=pgvector only: vectors by owner and chunk, never text (docs/adr/0015).
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE rag_vector (
    owner     text   NOT NULL,
    chunk_id  bigint NOT NULL,
    model     text   NOT NULL,
    embedding vector NOT NULL,
    PRIMARY KEY (owner, chunk_id)
);
