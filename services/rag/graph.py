"""The memory map: who spoke where, what is known of whom, and what carries which tag."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from services.rag.sources import name_key
from services.rag.vaults import Vault
from shared.schemas.facts import Edge, Graph, Node
from shared.schemas.rag import Memory
from shared.schemas.transcription import TranscriptSummary
from shared.storage.sqlcipher import in_our_words

LABEL = 120
"""Characters of a fact or a note that a node shows."""


class _Map:
    """Nodes in the order in which they came, as many as there is room for; edges between those that are there."""

    def __init__(self, room: int) -> None:
        self._room = room
        self.nodes: dict[str, Node] = {}
        self.edges: dict[tuple[str, str, str], Edge] = {}
        self.truncated = False

    def node(self, name: str, kind: str, label: str) -> bool:
        if name in self.nodes:
            return True
        if len(self.nodes) >= self._room:
            self.truncated = True
            return False
        self.nodes[name] = Node.model_validate({"id": name, "kind": kind, "label": label[:LABEL]})
        return True

    def edge(self, source: str, target: str, kind: str) -> None:
        if source in self.nodes and target in self.nodes:
            edge = Edge.model_validate({"source": source, "target": target, "kind": kind})
            self.edges[(source, target, kind)] = edge

    def tags(self, of: str, tags: Iterable[str]) -> None:
        for tag in tags:
            if self.node(f"tag:{tag}", "tag", tag):
                self.edge(of, f"tag:{tag}", "tagged")


_RECORDINGS = "SELECT summary FROM transcript WHERE status = 'completed' ORDER BY transcript_id DESC LIMIT ?"
_FACTS = """
SELECT fact.memory_id, content, tags, subject, subject_key, superseded_by, state FROM fact JOIN memory USING (memory_id)
WHERE state = 'active' ORDER BY memory_id DESC LIMIT ?
"""
_NOTES = """
SELECT * FROM memory WHERE transcript_id IS NULL AND memory_id NOT IN (SELECT memory_id FROM fact)
ORDER BY memory_id DESC LIMIT ?
"""


def graph(vault: Vault, limit: int) -> Graph:
    """At most `limit` nodes, a third of it for recordings and for facts each, the newest of each first."""
    made = _Map(limit)
    third = max(1, limit // 3)
    with in_our_words():
        recordings = vault.db.execute(_RECORDINGS, (third + 1,)).fetchall()
        known = vault.db.execute(_FACTS, (third + 1,)).fetchall()
        notes = vault.db.execute(_NOTES, (third + 1,)).fetchall()
        made.truncated = max(map(len, (recordings, known, notes))) > third
        for row in recordings[:third]:
            _recording(made, TranscriptSummary.model_validate_json(row["summary"]))
        for row in known[:third]:
            _fact(made, vault, row)
        for row in notes[:third]:
            _note(made, row)
    return Graph(nodes=list(made.nodes.values()), edges=list(made.edges.values()), truncated=made.truncated)


def _recording(made: _Map, told: TranscriptSummary) -> None:
    if not made.node(told.transcript_id, "recording", told.title):
        return
    for speaker in told.speakers:
        name = speaker.name or speaker.speaker_id
        person = f"person:{name_key(name)}" if name else f"person:{told.transcript_id}/{speaker.label}"
        if made.node(person, "person", name or speaker.label):
            made.edge(person, told.transcript_id, "spoke_in")
    made.tags(told.transcript_id, told.tags)


def _fact(made: _Map, vault: Vault, row: Any) -> None:
    if not made.node(row["memory_id"], "fact", row["content"]):
        return
    key = row["subject_key"].removeprefix("label:")
    person = f"person:{name_key(key[3:]) if key.startswith('id:') else key}"
    if made.node(person, "person", row["subject"]):
        made.edge(row["memory_id"], person, "about")
    sources = vault.db.execute("SELECT transcript_id FROM fact_evidence WHERE memory_id = ?", (row["memory_id"],))
    for source in sources.fetchall():
        made.edge(row["memory_id"], source["transcript_id"] or "", "said_in")
    made.tags(row["memory_id"], json.loads(row["tags"]))


def _note(made: _Map, row: Any) -> None:
    note = Memory.model_validate(dict(row) | {"tags": json.loads(row["tags"])})
    if made.node(note.memory_id, "note", note.title or note.content):
        made.tags(note.memory_id, note.tags)
