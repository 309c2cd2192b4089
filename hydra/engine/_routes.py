"""
Routes: what the loggers of one name may send where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.line import logger_tag
from ._route import make_route

if TYPE_CHECKING:
    from ._route import Route
    from ._scope import Lease, Scope


class Routes:
    """
    A route per level, filled as levels are used; None where nobody wants a level.

    Args:
        name: The loggers' name.
        scope: Whose runs are asked.
        lease: Kept for as long as these routes are, see `Lease`.
    """

    __slots__ = ("__weakref__", "by_level", "lease", "name", "scope", "tag")

    def __init__(self, name: str, scope: Scope, lease: Lease | None = None) -> None:
        self.name = name
        self.tag = logger_tag(name)
        self.scope = scope
        self.lease = lease
        self.by_level: dict[int, Route | None] = {}

    def resolve(self, level: int) -> Route | None:
        """Ask the run in force where records of *level* go, and remember it."""
        run = self.scope.current()
        stream = run.route(self.name, level)
        route = None if stream is None else make_route(stream, level, self.tag)
        self.by_level[level] = route
        if run is not self.scope.run:
            # The configuration changed in between; what was just remembered is stale.
            self.by_level.pop(level, None)
        return route
