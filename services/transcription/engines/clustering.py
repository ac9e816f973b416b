"""Voices into speakers: which of many vectors are one person's. Plain NumPy on cosines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

FRACTION, NEIGHBOURS_S = 0.75, 1.0
"""Two clusters are one speaker from this part of the cosine that neighbouring pieces have in the same recording."""
LEAST_SAME, MOST_SAME, USUAL_SAME = 0.25, 0.5, 0.4
"""Bounds of that threshold, and its value where nothing can be compared; tuned together with FRACTION on six AMI
excerpts and sixteen joined conversations, see `scripts/bench/diarization.py`."""
LEAST_SPEAKER_S = 2.0
"""Who was heard alone for less in all is taken for the speaker that sounds most alike."""
MOST_CLUSTERED = 1_500
"""Of more pieces evenly drawn ones are clustered, and the others go to the nearest centre: bounds time and memory."""


def same_from(vectors: Floats, begins_s: Floats, ends_s: Floats) -> float:
    """The cosine from which two clusters of this recording are one speaker.

    Neighbouring pieces that share no sound are mostly one person's, so their median says how alike one voice is to
    itself here: far less over a far microphone than over a telephone, where everybody sounds more alike.
    """
    found = [
        float(vectors[one] @ vectors[other])
        for one in range(len(vectors))
        for other in range(one + 1, min(one + 4, len(vectors)))
        if 0 <= begins_s[other] - ends_s[one] < NEIGHBOURS_S
    ]
    if len(found) < 3:
        return USUAL_SAME
    return float(np.clip(FRACTION * np.median(found), LEAST_SAME, MOST_SAME))


def clustered(vectors: Floats, seconds: Floats, same: float, least: int = 1, most: int = 20) -> Labels:
    """int [n]: a cluster for each of the vectors [n, dimensions] of length 1; at least one vector is needed.

    Agglomerative with average linkage over cosines (Sneath and Sokal's UPGMA) down to `same`; `seconds` is how much
    speech each stands for. Afterwards each vector goes to the nearest centre, unless that would leave one empty.
    """
    chosen = np.linspace(0, len(vectors) - 1, min(len(vectors), MOST_CLUSTERED)).astype(int)
    share = len(vectors) / len(chosen)
    among = _merged(vectors[chosen] @ vectors[chosen].T, seconds[chosen] * share, same, least, most)
    near = (vectors @ centres(vectors[chosen], seconds[chosen], among).T).argmax(axis=1)
    if len(set(near[chosen].tolist())) == among.max() + 1:
        return np.asarray(near)
    near[chosen] = among
    return np.asarray(near)


def _merged(alike: Floats, seconds: Floats, same: float, least: int, most: int) -> Labels:
    """Merge the two most alike until none are alike enough; then take in the clusters that were hardly heard."""
    clusters = _Clusters(alike, seconds)
    while len(clusters.members) > least:
        one, other = clusters.closest()
        if clusters.alike[one, other] < same and len(clusters.members) <= most:
            one = clusters.least_heard()
            if clusters.heard_s(one) >= LEAST_SPEAKER_S:
                break
            other = int(clusters.alike[one].argmax())
        clusters.join(one, other)
    labels = np.zeros(len(alike), dtype=np.int64)
    for label, each in enumerate(clusters.members.values()):
        labels[each] = label
    return labels


class _Clusters:
    """Groups of voices, and how alike they are on average."""

    def __init__(self, alike: Floats, seconds: Floats) -> None:
        self.alike = alike.astype(np.float64)
        np.fill_diagonal(self.alike, -np.inf)
        self.members = {each: [each] for each in range(len(alike))}
        self._seconds = seconds

    def closest(self) -> tuple[int, int]:
        one, other = divmod(int(self.alike.argmax()), len(self.alike))
        return one, other

    def join(self, one: int, other: int) -> None:
        here, there = len(self.members[one]), len(self.members[other])
        joined = (self.alike[one] * here + self.alike[other] * there) / (here + there)
        self.alike[one], self.alike[:, one] = joined, joined
        self.alike[one, one] = -np.inf
        self.alike[other], self.alike[:, other] = -np.inf, -np.inf
        self.members[one] += self.members.pop(other)

    def least_heard(self) -> int:
        return min(self.members, key=self.heard_s)

    def heard_s(self, cluster: int) -> float:
        return float(self._seconds[self.members[cluster]].sum())


def centre(vectors: Floats, weights: Floats) -> Floats:
    """The direction of the weighted mean, of length 1."""
    mean = (vectors * weights[:, None]).sum(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), dtype=np.float32)


def centres(vectors: Floats, weights: Floats, labels: Labels) -> Floats:
    """float32 [clusters, dimensions]; labels count from 0 without a gap."""
    return np.stack([centre(vectors[labels == each], weights[labels == each]) for each in range(int(labels.max()) + 1)])


def paired(gains: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Rows and columns matched one to one for the greatest sum (Kuhn 1955, by shortest augmenting paths, O(n^3))."""
    if gains.size == 0:
        return []
    if gains.shape[0] > gains.shape[1]:
        return sorted((row, column) for column, row in paired(gains.T))
    rows, columns = gains.shape
    cost = np.zeros((rows + 1, columns + 1))
    cost[1:, 1:] = -gains
    up, down = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.zeros(columns + 1, dtype=int)
    for row in range(1, rows + 1):
        _augment(row, cost, up, down, owner)
    return sorted((int(owner[column]) - 1, column - 1) for column in range(1, columns + 1) if owner[column])


def _augment(
    row: int, cost: NDArray[np.float64], up: NDArray[np.float64], down: NDArray[np.float64], owner: NDArray[np.int64]
) -> None:
    """One more row gets a column, others moving where that is cheaper; `up` and `down` are the potentials."""
    least = np.full(len(down), np.inf)
    back, used = np.zeros(len(down), dtype=int), np.zeros(len(down), dtype=bool)
    owner[0], at = row, 0
    while True:
        used[at] = True
        reduced = cost[owner[at]] - up[owner[at]] - down
        better = ~used & (reduced < least)
        least[better], back[better] = reduced[better], at
        after = int(np.where(used, np.inf, least).argmin())
        step = least[after]
        up[owner[used]] += step
        down[used] -= step
        least[~used] -= step
        at = after
        if owner[at] == 0:
            break
    while at:
        owner[at] = owner[back[at]]
        at = int(back[at])
