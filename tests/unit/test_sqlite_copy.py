"""A database is copied while another process writes to it, and every copy is one that was committed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from shared.errors import Busy
from shared.storage import sqlcipher, sqlite_copy
from tests.conftest import ROOT

KEY = bytes(range(32))
WRITER = """
    import sys
    from pathlib import Path
    from shared.storage import sqlcipher
    path = Path(sys.argv[1])
    reopen = sys.argv[2] == "reopen"
    db = sqlcipher.connect(path, bytes(range(32)))
    db.execute("PRAGMA wal_autocheckpoint = 5")
    number = db.execute("SELECT max(number) FROM one").fetchone()[0]
    while True:
        number += 1
        with sqlcipher.transaction(db):
            db.execute("INSERT INTO one VALUES (?, zeroblob(20000))", (number,))
            db.execute("INSERT INTO two VALUES (?, zeroblob(20000))", (number,))
            if number > 40:
                db.execute("DELETE FROM one WHERE number = ?", (number - 40,))
                db.execute("DELETE FROM two WHERE number = ?", (number - 40,))
        print(number, flush=True)
        if reopen and number % 3 == 0:  # the last connection checkpoints and removes the log
            db.close()
            db = sqlcipher.connect(path, bytes(range(32)))
"""


def made(path: Path) -> Path:
    database = sqlcipher.connect(path, KEY)
    database.executescript("CREATE TABLE one (number, filling); CREATE TABLE two (number, filling);")
    database.execute("INSERT INTO one VALUES (0, '')")
    database.execute("INSERT INTO two VALUES (0, '')")
    database.close()
    return path


@pytest.mark.parametrize("how", ["stays open", "reopen"])
def test_copies_under_load_are_whole(tmp_path: Path, how: str) -> None:
    path = made(tmp_path / "busy.db")
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path), how]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            acknowledged, seen = 0, set()
            for turn in range(25):
                acknowledged = int(writer.stdout.readline())
                target = tmp_path / f"copy{turn}.db"
                sqlite_copy.copy(path, target)
                database = sqlcipher.connect(target, KEY)
                assert not database.execute("PRAGMA cipher_integrity_check").fetchall()
                assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
                one, two = (
                    database.execute(f"SELECT count(*), max(number) FROM {table}").fetchone()
                    for table in ("one", "two")
                )
                assert tuple(one) == tuple(two) and one[1] >= acknowledged
                seen.add(one[1])
                database.close()
            assert writer.poll() is None and len(seen) > 1
        finally:
            writer.kill()


def test_a_closed_database_is_copied_and_opens_without_us(tmp_path: Path) -> None:
    path = made(tmp_path / "closed.db")
    assert sqlite_copy.copy(path, tmp_path / "copy.db") == [tmp_path / "copy.db"]
    for each in (path, tmp_path / "copy.db"):
        database = sqlcipher.connect(each, KEY)
        assert database.execute("SELECT count(*) FROM one").fetchone()[0] == 1
        database.execute("INSERT INTO one VALUES (1, '')")
        database.close()


def test_a_writer_that_never_ends_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "stuck.db")
    holder = """
        import sys
        from pathlib import Path
        from shared.storage import sqlcipher
        db = sqlcipher.connect(Path(sys.argv[1]), bytes(range(32)))
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO one VALUES (1, '')")
        print("in it", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(holder), str(path)]
    monkeypatch.setattr(sqlite_copy, "WAIT_S", 0.2)
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdin is not None
        writer.stdout.readline()
        with pytest.raises(Busy):
            sqlite_copy.copy(path, tmp_path / "copy.db")
        writer.stdin.close()


def test_a_database_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sqlite_copy.copy(tmp_path / "none.db", tmp_path / "copy.db")
    assert not list(tmp_path.iterdir())
