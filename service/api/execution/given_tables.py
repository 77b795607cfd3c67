"""A request whose rows came as a table: its columns in the order of the model's, its faults as the items' errors."""

from dataclasses import replace

from fivefold.operation import SeededRequest
from model_store.store import Model
from service.api.media.number_table import NumberTable
from service.families.pipeline import Prepared


def with_model_columns(
    request: SeededRequest, model: Model, *, stored: bool
) -> tuple[SeededRequest, NumberTable | None]:
    """The request with plain numbers, and the table that it came with. Raises InvalidInput for names of other columns.

    Only rows have the model's columns; latents have none. In a request that is `stored` as JSON, which has no NaN, a
    row at fault is an empty list.
    """
    for place in sorted(request.data & request.model_fields_set):
        if isinstance(table := getattr(request, place), NumberTable):
            columns = getattr(model.manifest.params, "columns", ()) if place == "rows" else ()
            rows = table.ordered(columns)
            if stored and table.faults:
                rows = [[] if index in table.faults else list(row) for index, row in enumerate(rows)]
            return request.model_copy(update={place: rows}), table
    return request, None


def with_faults(prepared: Prepared, table: NumberTable) -> Prepared:
    """The same, in which the rows at fault are refused with what the table says of them."""
    messages = {row: fault.message for row, fault in table.faults.items()}
    return replace(prepared, refusals={**prepared.refusals, **messages}) if messages else prepared
