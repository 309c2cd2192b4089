"""A destination as an object, for what cannot be written in a file: a sink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Destination:
    """
    The options of one destination, accepted wherever a mapping of them is.

    Choose it when the destination writes to an object of yours; for files and
    consoles a mapping says the same. Nothing is checked here: `configure` reports
    all that is wrong at once, with the place.

    Args:
        sink: A tier, or a plain or async callable that takes a list of lines (bytes).
        type: One of file, console, stderr, sink; None: known from the other options.
        name: The name in statistics; None: made from the path or the sink.
        format: How lines are rendered; None: the default of the type.
        fallback: What is tried when the destination fails; None: the standard chain.
        **options: Any other option of a destination, as in the reference.
    """

    __slots__ = ("options",)

    def __init__(
        self,
        sink: object | None = None,
        *,
        type: str | None = None,
        name: str | None = None,
        format: str | None = None,
        fallback: Sequence[object] | None = None,
        **options: object,
    ) -> None:
        given = {"sink": sink, "type": type, "name": name, "format": format, "fallback": fallback}
        self.options: Mapping[str, object] = {
            option: value for option, value in {**given, **options}.items() if value is not None
        }

    def __repr__(self) -> str:
        # Only the names: options of a sink may hold credentials.
        return f"<Destination {', '.join(sorted(self.options))}>"
