"""Speakers of a live stream: a label for every utterance at once, corrected when more was heard. Plain NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.transcription.engines import Voice
from services.transcription.engines.clustering import centre, centres, clustered, paired

SAME = 0.4
"""Cosine to a speaker's centre from which an utterance is theirs; as USUAL_SAME of the clustering."""
SHORT_S = 1.5
"""A shorter utterance is the previous speaker's unless it is clearly another's (by CLEARLY)."""
CLEARLY = 0.15
LEAST_REVISED_S = 1.0
"""Shorter utterances take no part in making speakers when everything is looked at again."""
MOST_CLUSTERED = 500
LONGEST_S = 10.0
"""An utterance counts for no more than this in a centre."""


class LiveSpeakers:
    """Labels count up from 0 in the order in which people are first heard.

    Memory: one vector for an utterance, float32 [dimensions], that is 1 MB for 1,300 utterances of 192 numbers.
    """

    def __init__(self, same: float = SAME, most: int = 20) -> None:
        self._same, self._most = same, most
        self._vectors: list[NDArray[np.float32]] = []
        self._seconds: list[float] = []
        self._labels: list[int] = []
        self._sums: dict[int, NDArray[np.float32]] = {}
        self._next = 0

    def add(self, voice: Voice) -> int:
        """The label of one finished utterance, at once: nearest centre, or somebody new (leader clustering)."""
        label = self._nearest(voice)
        self._vectors.append(voice.vector)
        self._seconds.append(voice.seconds)
        self._labels.append(label)
        self._take(label, voice.vector, voice.seconds)
        return label

    def revised(self) -> list[int]:
        """Labels of all utterances so far, from all evidence so far, with as few renumberings as it allows.

        Clusters keep the label that most of their speech was shown under (Kuhn's assignment); what is newly told apart
        gets a number that was never shown. Later utterances are compared with these speakers.
        """
        if not self._vectors:
            return []
        found = self._clustered()
        names = self._names(found)
        self._labels = [names[each] for each in found.tolist()]
        self._sums = {}
        for label, vector, seconds in zip(self._labels, self._vectors, self._seconds, strict=True):
            self._take(label, vector, seconds)
        return list(self._labels)

    def _nearest(self, voice: Voice) -> int:
        if not self._sums:
            return self._next
        alike = {label: _cosine(total, voice.vector) for label, total in self._sums.items()}
        best = max(alike, key=lambda label: alike[label])
        last = self._labels[-1]
        if voice.seconds < SHORT_S:
            clear = alike[best] >= self._same and alike[best] - alike[last] > CLEARLY
            return best if clear else last
        if alike[best] >= self._same or len(alike) >= self._most:
            return best
        return self._next

    def _take(self, label: int, vector: NDArray[np.float32], seconds: float) -> None:
        self._next = max(self._next, label + 1)
        self._sums[label] = self._sums.get(label, np.zeros_like(vector)) + vector * np.float32(min(seconds, LONGEST_S))

    def _clustered(self) -> NDArray[np.int64]:
        """int [utterances]: clusters of an even draw of the telling utterances; the others go to the nearest."""
        vectors, seconds = np.stack(self._vectors), np.array(self._seconds, dtype=np.float32)
        telling = np.flatnonzero(seconds >= LEAST_REVISED_S)
        if not len(telling):
            return np.array(self._labels, dtype=np.int64)
        drawn = telling[np.linspace(0, len(telling) - 1, min(len(telling), MOST_CLUSTERED)).astype(int)]
        weights = np.minimum(seconds[drawn], LONGEST_S)
        among = clustered(vectors[drawn], weights, self._same, most=self._most)
        found = (vectors @ centres(vectors[drawn], weights, among).T).argmax(axis=1)
        found[drawn] = among
        return np.asarray(found)

    def _names(self, found: NDArray[np.int64]) -> dict[int, int]:
        shown = sorted(set(self._labels))
        clusters = sorted(set(found.tolist()), key=lambda each: int((found == each).argmax()))
        shared = np.zeros((len(clusters), len(shown)))
        for cluster, label, seconds in zip(found.tolist(), self._labels, self._seconds, strict=True):
            shared[clusters.index(cluster), shown.index(label)] += seconds
        names = {clusters[row]: shown[column] for row, column in paired(shared) if shared[row, column] > 0}
        fresh = [cluster for cluster in clusters if cluster not in names]
        return names | {cluster: self._next + at for at, cluster in enumerate(fresh)}


def _cosine(total: NDArray[np.float32], vector: NDArray[np.float32]) -> float:
    return float(centre(total[None], np.ones(1, dtype=np.float32)) @ vector)
