"""What was done to the files of one folder, in order, and what a power failure may leave of it.

A disk keeps what was synced. Of the rest it may keep all, nothing, or any part: writes are kept by
sectors, files independently of each other, and changes of the folder as a prefix of their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final

SECTOR_BYTES: Final = 512

Files = dict[str, bytes]
"""The files of a folder by name."""


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes were written to a file; not synced."""

    name: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """A file was cut to a size; not synced."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything done to a file so far is on the disk, and its name as well."""

    name: str


@dataclass(frozen=True, slots=True)
class Created:
    """An empty file was made; its name is not synced."""

    name: str


@dataclass(frozen=True, slots=True)
class Removed:
    """A file's name was taken away.

    Attributes:
        synced: the folder was synced after it.
    """

    name: str
    synced: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """A file with this content took the name, in one step, and file and folder were synced."""

    name: str
    content: bytes


Operation = Written | Cut | Synced | Created | Removed | Placed


class Fate(StrEnum):
    """What becomes of that which was not synced."""

    KEPT = "kept"
    DROPPED = "dropped"
    SECTORS = "torn by sectors"
    HALVES = "torn in halves"
    FILES = "kept in some files"


@dataclass(slots=True)
class _File:
    """One file, whatever its name.

    Attributes:
        durable: what is on the disk for certain.
        pending: what was done since, in order.
    """

    durable: bytes = b""
    pending: list[Written | Cut] = field(default_factory=list)


class Disk:
    """Takes operations one by one, and says what a power failure now would leave."""

    def __init__(self) -> None:
        self._durable: dict[str, _File] = {}
        self._present: dict[str, _File] = {}
        self._names: list[Created | Removed] = []
        self._made: list[_File | None] = []

    def take(self, operation: Operation) -> None:
        """Do one operation."""
        match operation:
            case Written(name) | Cut(name):
                self._present[name].pending.append(operation)
            case Synced(name):
                file = self._present[name]
                file.durable, file.pending = _applied(file.durable, file.pending), []
                self._settle_names()
            case Created(name):
                self._present[name] = _File()
                self._names.append(operation)
                self._made.append(self._present[name])
            case Removed(name, synced):
                del self._present[name]
                self._names.append(operation)
                self._made.append(None)
                if synced:
                    self._settle_names()
            case Placed(name, content):
                self._present[name] = _File(content)
                self._settle_names()

    def _settle_names(self) -> None:
        # A folder is a file of its own; on every file system in use its changes go out in order.
        self._durable = dict(self._present)
        self._names, self._made = [], []

    def after_power_loss(self, fate: Fate, stream: Random) -> Files:
        """Return what may be there afterwards.

        Args:
            fate: of what was not synced.
            stream: decides where the fate leaves a choice.
        """
        whole = fate is Fate.KEPT
        count = len(self._names)
        if fate not in (Fate.KEPT, Fate.DROPPED):
            count = stream.randint(0, count)
        names = self._named(count if fate is not Fate.DROPPED else 0)
        left: Files = {}
        for name, file in sorted(names.items()):
            pending = _surviving(file.pending, fate, stream)
            left[name] = _applied(file.durable, file.pending if whole else pending)
        return left

    def _named(self, count: int) -> dict[str, _File]:
        names = dict(self._durable)
        for change, made in zip(self._names[:count], self._made, strict=False):
            if made is None:
                names.pop(change.name, None)
            else:
                names[change.name] = made
        return names


def _surviving(pending: Sequence[Written | Cut], fate: Fate, stream: Random) -> list[Written | Cut]:
    if fate is Fate.FILES:
        return list(pending) if stream.random() < 0.5 else []
    if fate is Fate.DROPPED:
        return []
    left: list[Written | Cut] = []
    for operation in pending:
        if isinstance(operation, Cut):
            if stream.random() < 0.5:
                left.append(operation)
        elif fate is Fate.SECTORS:
            left += _sectors(operation, stream)
        else:
            left += _half(operation, stream)
    return left


def _sectors(written: Written, stream: Random) -> list[Written | Cut]:
    left: list[Written | Cut] = []
    start, end = written.offset, written.offset + len(written.data)
    while start < end:
        stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if stream.random() < 0.5:
            data = written.data[start - written.offset : stop - written.offset]
            left.append(Written(written.name, start, data))
        start = stop
    return left


def _half(written: Written, stream: Random) -> list[Written | Cut]:
    middle = len(written.data) // 2
    match stream.randrange(4):
        case 0:
            return []
        case 1:
            return [Written(written.name, written.offset, written.data[:middle])]
        case 2:
            return [Written(written.name, written.offset + middle, written.data[middle:])]
        case _:
            return [written]


def _applied(content: bytes, operations: Sequence[Written | Cut]) -> bytes:
    if not operations:
        return content
    after = bytearray(content)
    for operation in operations:
        if isinstance(operation, Cut):
            del after[operation.size :]
            after.extend(bytes(operation.size - len(after)))
            continue
        end = operation.offset + len(operation.data)
        if end > len(after):
            after.extend(bytes(end - len(after)))
        after[operation.offset : end] = operation.data
    return bytes(after)
