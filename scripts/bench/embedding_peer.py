"""sentence-transformers in a process and an environment of its own: a line of JSON asks, a line of JSON answers.

    python scripts/bench/embedding_peer.py MODEL_FOLDER THREADS MAX_TOKENS

Asked `{"texts": [...], "keep": path or null}` it embeds, keeps the vectors where a path is, and tells `{"s": ...}`.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch
from sentence_transformers import SentenceTransformer


def main() -> None:
    folder, threads, max_tokens = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    model.max_seq_length = int(max_tokens)
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.perf_counter()
        vectors = model.encode(asked["texts"], normalize_embeddings=True, show_progress_bar=False)
        took_s = time.perf_counter() - began
        if asked["keep"]:
            np.save(asked["keep"], vectors)
        print(json.dumps({"s": took_s}), flush=True)


if __name__ == "__main__":
    main()
