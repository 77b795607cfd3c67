"""Fields of finished texts, rendered one by one."""

from collections.abc import Callable

from service.arrays import Arrays, item_of
from service.families.pipeline import FieldColumns, Fields, Results


def render_each(results: Results, render: Callable[[Arrays], Fields]) -> FieldColumns:
    """The fields that `render` makes of each text, by name; every text has the same ones."""
    fields = [render(item_of(results.columns, index)) for index in range(len(results.rows))]
    return {name: [one[name] for one in fields] for name in (fields[0] if fields else ())}
