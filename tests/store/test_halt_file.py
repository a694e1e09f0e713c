"""The halt file: whole and durable where that can be had, and there in any case."""

import errno
import os
import stat
import tempfile
from pathlib import Path

import pytest

from saga.errors import StoreError
from saga.store import halt_file
from saga.store.halt_file import BY_HAND, HaltedAllTheSame, HaltFile, HaltOrder


def _fails(*_: object, **__: object) -> object:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.requirement("S13")
def test_it_is_the_users_alone_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = HaltFile(tmp_path / "saga.db")
    file.path.write_text("an older one, and a longer one, that anybody could read")
    file.put(HaltOrder("ann", "prices are wrong"))
    assert file.read() == HaltOrder("ann", "prices are wrong")
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file.path]


@pytest.mark.requirement("S13")
def test_nobody_reads_half_of_it_and_it_is_synced_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = HaltFile(tmp_path / "saga.db")
    file.put(HaltOrder("ann", "first"))
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        sync(handle)
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        if done == ["file"]:
            assert file.read() == HaltOrder("ann", "first")

    def replaced(source: str, target: Path) -> None:
        replace(source, target)
        done.append("name")

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    file.put(HaltOrder("bob", "second"))
    assert done == ["file", "name", "folder"]
    assert file.read() == HaltOrder("bob", "second")


@pytest.mark.requirement("S13")
@pytest.mark.parametrize("what", ["mkstemp", "fsync", "replace"])
def test_where_the_reason_cannot_be_kept_it_halts_all_the_same_and_says_so(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = HaltFile(tmp_path / "saga.db")
    monkeypatch.setattr(tempfile if what == "mkstemp" else os, what, _fails)
    with pytest.raises(HaltedAllTheSame, match="holds, but the reason could not be kept"):
        file.put(HaltOrder("ann", "stop"))
    assert file.is_there()
    assert file.read().by == BY_HAND
    assert list(tmp_path.iterdir()) == [file.path]


@pytest.mark.requirement("S13")
def test_a_folder_that_cannot_be_synced_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = HaltFile(tmp_path / "saga.db")
    monkeypatch.setattr(halt_file, "sync_folder", _fails)
    with pytest.raises(HaltedAllTheSame, match="power failure may take it away"):
        file.put(HaltOrder("ann", "stop"))
    assert file.read() == HaltOrder("ann", "stop")


@pytest.mark.requirement("S13")
def test_where_it_cannot_be_put_at_all_nobody_is_told_that_it_halts(tmp_path: Path) -> None:
    file = HaltFile(tmp_path / "not there" / "saga.db")
    with pytest.raises(StoreError, match="nothing is halted by it") as refused:
        file.put(HaltOrder("ann", "stop"))
    assert not isinstance(refused.value, HaltedAllTheSame)
