"""Who has which media in hand, so that two writers of a feature set seldom encode the same ones."""

from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager

from .atomic import is_gone, writer_name
from .commits import Commit, commit_object, find_commit, put_commit
from .objects import Store

CLAIMS_NAME = "claims"


def claim_object(name: str) -> str:
    """Return where it is said who has the media of that name in hand."""
    return f"{CLAIMS_NAME}/{name}"


def claimed_by_another(folder: Store, name: str) -> bool:
    """Return whether a writer that may live, and is not this one, has these media in hand."""
    holder = _holder(folder, claim_object(name))
    return bool(holder) and holder != writer_name() and not is_gone(holder)


def is_abandoned(folder: Store, name: str) -> bool:
    """Return whether a writer that is gone had these media in hand."""
    return is_gone(_holder(folder, claim_object(name)))


def remove_abandoned_claims(folder: Store, *, but: Container[str]) -> None:
    """Remove the claims of writers that are gone, but those of some names."""
    for claim in folder.list(CLAIMS_NAME):
        if claim.rpartition("/")[2] not in but and is_gone(_holder(folder, claim)):
            folder.delete(claim)


def _holder(folder: Store, claim: str) -> str:
    return (folder.get(claim) or b"").decode(errors="replace")


class Claims:
    """What this writer has in hand: names of slices, each with the keys that are left to do.

    A claim is advice, and the mark of a shard that was written and not committed.
    """

    def __init__(self, folder: Store) -> None:
        self._folder = folder
        self._left: dict[str, set[bytes]] = {}

    def __contains__(self, key: bytes) -> bool:
        return any(key in left for left in self._left.values())

    def take(self, name: str) -> bool:
        """Return whether nobody else who may live has these media in hand; then this one has."""
        if name in self._left:
            return True
        me = writer_name().encode()
        if not self._folder.put_if_absent(claim_object(name), me):
            if claimed_by_another(self._folder, name):
                return False
            self._folder.put(claim_object(name), me)
        return True

    def hold(self, name: str, keys: Iterable[bytes]) -> None:
        """Note what is left to do of media in hand; claims of which nothing is left are freed."""
        self._left.setdefault(name, set(keys))
        self.finish(())

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Yield while this writer has media in hand; the claim stays where that fails."""
        self.take(name)
        self._left.setdefault(name, {b""})
        yield
        self.free([name])

    def finish(self, keys: Iterable[bytes]) -> None:
        """Take committed media off what is left to do."""
        for left in self._left.values():
            left.difference_update(keys)
        self.free([name for name, left in self._left.items() if not left])

    def free(self, names: Iterable[str] | None = None) -> None:
        """Give claims up, all of them by default."""
        for name in list(self._left if names is None else names):
            del self._left[name]
            if self._folder.get(claim_object(name)) == writer_name().encode():
                self._folder.delete(claim_object(name))

    def settle(
        self, commit: Commit, place: Callable[[], Commit], others_did: Callable[[], bool]
    ) -> Commit | None:
        """Place a shard and put its commit; return what counts: it, or that of another writer.

        None is returned where commits of other names have the media. A claim that is refused may be
        a compaction's, which has the rows committed already and is about to remove a shard of this
        very name: so who is refused looks before and after, and withdraws what others did.
        """
        mine = self.take(commit.name)
        if not mine and others_did():
            return None
        commit = place()
        if put_commit(self._folder, commit):
            if mine or not others_did():
                return commit
            self._folder.delete(commit_object(commit.name))
            theirs = None
        else:
            theirs = find_commit(self._folder, commit.name)
        if commit.file is not None and (theirs is None or commit.file != theirs.file):
            self._folder.delete(commit.file)
        return theirs
