"""Which worker runs which test."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

from tests.parallel import group_of


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands a worker a whole group at a time, so that fixtures of a module are made once."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(self.config.rootpath / nodeid.partition("::")[0])
