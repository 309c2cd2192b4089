"""
Routes: what the loggers of one name may send where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._way import way_of

if TYPE_CHECKING:
    from ._scope import Lease, Scope
    from ._way import Way


class Routes:
    """
    A way per level, filled as levels are used; None where nobody wants a level.

    Args:
        name: The loggers' name.
        scope: Whose runs are asked.
        lease: Kept for as long as these routes are, see `Lease`.
    """

    __slots__ = ("__weakref__", "lease", "name", "scope", "ways")

    def __init__(self, name: str, scope: Scope, lease: Lease | None = None) -> None:
        self.name = name
        self.scope = scope
        self.lease = lease
        self.ways: dict[int, Way | None] = {}

    def resolve(self, level: int) -> Way | None:
        """Ask the run in force where records of *level* go, and remember it."""
        run = self.scope.current()
        stream = run.route(self.name, level)
        way = None if stream is None else way_of(stream, level, self.name)
        self.ways[level] = way
        if run is not self.scope.run:
            # The configuration changed in between; what was just remembered is stale.
            self.ways.pop(level, None)
        return way
