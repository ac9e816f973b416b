"""The last step of an answer: every sentence of it is held against what was found."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from services.gemma import evidence, proofs, verdicts
from services.gemma.evidence import Quote
from services.gemma.lookup import source
from services.gemma.proofs import Claim, Exhibits, Proof
from services.gemma.runs import Run
from services.gemma.verdicts import Finding
from shared.auth.principal import Principal
from shared.clients.rag import RagClient
from shared.errors import ProductError
from shared.schemas.rag import Citation, SearchHit
from shared.schemas.transcription import Transcript

log = logging.getLogger(__name__)
OTHERS = 192
"""Most stretches of the sources whose cosines are asked for at once."""
Judged = tuple[Claim, Finding, str]
"""With the method."""


class Checker:
    """Asks the memory service for transcripts and for how alike two texts are."""

    def __init__(self, rag: RagClient) -> None:
        self._rag = rag

    async def check(self, run: Run) -> None:
        """Leaves the verdicts in the draft, tells them, and adds the citations that they rest on."""
        draft, shown = run.draft, len(run.draft.citations)
        proof = proofs.of_hits(draft.hits)
        found = proofs.quoted(draft.text, draft.citations, draft.hits)
        if draft.words_at is not None:
            judged = await self.judged(run.user, proofs.claims_of(draft.text, draft.words_at), proof)
            heard = await self._heard(run.user, judged, proof)
            exhibits = Exhibits(draft.citations, partial(_cite, heard))
            found += [proofs.concluded(*each, proof, exhibits) for each in judged]
        for citation in draft.citations[shown:]:
            run.say("citation", citation.model_dump(mode="json"))
        draft.evidence = found
        if found:
            run.say("evidence", {"sentences": [each.model_dump(mode="json") for each in found]})

    async def judged(self, user: Principal, claims: Sequence[Claim], proof: Proof[Any]) -> list[Judged]:
        """By words first; what these do not support is looked at with the cosines too."""
        by_words = await asyncio.to_thread(lambda: [proof.by_words(claim) for claim in claims])
        doubtful = [claim for claim, finding in zip(claims, by_words, strict=True) if finding.verdict != "supported"]
        again = await self._with_cosines(user, doubtful, proof)
        return [
            (claim, again.get(claim, finding), proofs.WITH_COSINE if claim in again else proofs.WORDS)
            for claim, finding in zip(claims, by_words, strict=True)
        ]

    async def _with_cosines(self, user: Principal, claims: Sequence[Claim], proof: Proof[Any]) -> dict[Claim, Finding]:
        """Of those that have anything in common with the sources; none where the memory service cannot tell."""
        near = {claim: units for claim in claims if (units := proof.near(claim))}
        others = list(dict.fromkeys(unit.said.text[:2000] for units in near.values() for unit in units))[:OTHERS]
        if not others:
            return {}
        try:
            rows = await self._rag.similarities(user, [claim.compared for claim in near], others)
        except ProductError as error:
            log.warning("sentences are checked by their words alone", extra={"code": error.code})
            return {}
        column = {text: at for at, text in enumerate(others)}
        return {
            claim: verdicts.judge(
                claim.compared,
                known := [unit for unit in units if unit.said.text[:2000] in column],
                [row[column[unit.said.text[:2000]]] for unit in known],
            )
            for (claim, units), row in zip(near.items(), rows, strict=True)
        }

    async def _heard(self, user: Principal, judged: Sequence[Judged], proof: Proof[SearchHit]) -> dict[str, Transcript]:
        """The recordings that the verdicts rest on, for the seconds of their words."""
        units = [finding.unit for _, finding, _ in judged if finding.unit and finding.verdict != "unsupported"]
        units += [found[0] for claim, _, _ in judged for quote in claim.quotes if (found := proof.find(quote))]
        heard: dict[str, Transcript] = {}
        for hit in map(proof.owner, units):
            name = hit.metadata.transcript_id
            if name and name not in heard and (transcript := await source(self._rag, user, hit)) is not None:
                heard[name] = transcript
        return heard


def _cite(heard: dict[str, Transcript], quote: Quote) -> Citation:
    return evidence.cite(quote, heard.get(quote.hit.metadata.transcript_id or ""))
