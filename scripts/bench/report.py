#!/usr/bin/env python3
"""docs/benchmarks.md of what the benchmarks left in docs/benchmarks/."""

from __future__ import annotations

import json

from figures import ROOT

HEAD = """# Figures

Made by `make bench`; each line comes from the script in `scripts/bench/` whose name heads it. Ratios are medians over
rounds that alternate with the peer in one run, because machines are shared and noisy; absolute figures are there for
scale only. The scripts say which recordings and texts they need (`NEMO_BENCH_DATA`); the gateway's needs `wrk` and
`nginx`.
"""


def main() -> None:
    parts = [HEAD]
    for path in sorted((ROOT / "docs" / "benchmarks").glob("*.json")):
        told = json.loads(path.read_text())
        parts.append(f"## {path.stem}\n\n{told['date']}, {told['machine']}\n")
        parts.append("| figure | value | goal | detail |\n|---|---|---|---|")
        parts += [
            f"| {each['what']} | {each['value']} | {each['goal']} | {each['detail']} |" for each in told["figures"]
        ]
        parts.append("")
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
