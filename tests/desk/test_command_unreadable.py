"""One batch that nobody can read: every other goes on, and it is named wherever it counts (S18)."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from saga.events import Started
from tests.desk.conftest import Invoke
from tests.desk.taken_in import a_batch, taken_in
from tests.desk.terminal import Desk


def damage(home: Path, batch_id: str) -> None:
    with closing(sqlite3.connect(home / "saga.db")) as hand:
        triggers = hand.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            hand.execute(f'DROP TRIGGER "{name}"')
        hand.execute(
            "UPDATE journal SET data = data || ' ' "
            "WHERE batch_id = (SELECT id FROM batches WHERE batch_uid = ?)",
            (batch_id,),
        )
        hand.commit()


@pytest.mark.requirement("S18", "L2")
def test_no_command_is_stopped_by_a_batch_of_which_another_record_was_altered(
    traded: Desk, invoke: Invoke
) -> None:
    bad, sound, other = (a_batch(name) for name in (None, "main", None))
    taken_in(traded.home, [(bad, ()), (sound, ()), (other, ())])
    damage(traded.home, bad.batch_id)

    halted = invoke("halt", "--reason", "prices")
    cancelled = invoke("cancel", other.batch_id, "--reason", "no more", "--json")
    eased = invoke("activate", "--reason", "fine", "--yes")
    carried = invoke("run", "--json")

    named = f"{bad.batch_id} (PENDING) is set aside and waits for a person"
    for done in (halted, cancelled, carried):
        assert named in " ".join(done.err.split()), done.err
    assert (halted.code, eased.code) == (0, 0)
    assert cancelled.code == 0, cancelled.err
    assert carried.code == 4
    assert [row["batch_id"] for row in carried.data["waiting"]] == [bad.batch_id]
    assert [row["state"] for row in carried.data["batches"]] == ["COMPLETED"]
    assert carried.data["batches"][0]["batch_id"] == sound.batch_id
    assert cancelled.data["batch"]["state"] == "ROLLED_BACK"


@pytest.mark.requirement("B7", "S18")
def test_the_list_does_not_say_that_anybody_carries_on_what_is_set_aside(
    traded: Desk, invoke: Invoke
) -> None:
    bad = a_batch()
    taken_in(traded.home, [(bad, (Started(),))])
    damage(traded.home, bad.batch_id)
    assert invoke("run").code == 4

    listed = invoke("list")

    assert f"Set aside, which waits for a person: {bad.batch_id}." in listed.err
    assert "unfinished" not in listed.err


@pytest.mark.requirement("S6", "S18")
def test_books_say_that_a_batch_which_nobody_can_read_is_not_in_them(
    traded: Desk, invoke: Invoke
) -> None:
    bad = a_batch("main")
    taken_in(traded.home, [(bad, (Started(),))])
    damage(traded.home, bad.batch_id)

    books, as_json = invoke("portfolio"), invoke("portfolio", "--json")

    assert (books.code, as_json.code) == (4, 4)
    said = f"What {bad.batch_id} has at the broker is not in these figures, as it is set aside: "
    assert said in " ".join(books.out.split())
    assert as_json.data["troubles"][0].startswith(said)


@pytest.mark.requirement("S6", "S18")
def test_an_accepted_copy_pauses_the_sound_batches_behind_one_that_cannot_be(
    traded: Desk, invoke: Invoke, orders: Path, tmp_path: Path
) -> None:
    bad, sound = a_batch(), a_batch()
    taken_in(traded.home, [(bad, (Started(), Started())), (sound, (Started(),))])
    copy = tmp_path / "monday.db"
    assert invoke("backup", copy).code == 0
    taken_in(traded.home, [(a_batch(), ())])
    shutil.copy(copy, traded.home / "saga.db")

    accepted = invoke("accept-copy", "--reason", "disk died", "--yes", "--json")

    assert accepted.code == 4, accepted.err
    assert accepted.data["paused"] == [sound.batch_id]
    (sentence,) = accepted.data["unreadable"]
    assert sentence.startswith(f"{bad.batch_id} is set aside, as it cannot be read: ")
