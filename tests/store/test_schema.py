"""The columns are the fields of the nouns, in their order: else a row would be read as another."""

from dataclasses import fields

import pytest

from cocoon_p2p.ledger import ChannelRow, Cost, Delivery, ExchangeRow, Line, Note
from cocoon_p2p.store import schema
from cocoon_p2p.store.schema import Table


@pytest.mark.parametrize(
    ("table", "noun"),
    [
        (schema.CHANNELS, ChannelRow),
        (schema.EXCHANGES, ExchangeRow),
        (schema.LINES, Line),
        (schema.NOTES, Note),
        (schema.DELIVERIES, Delivery),
        (schema.COSTS, Cost),
    ],
)
def test_a_table_has_a_column_for_each_field_of_its_noun(table: Table, noun: type) -> None:
    columns = [column.name for column in table.columns]
    named = [field.name for field in fields(noun)]

    assert columns == (["channel", "side", *named[1:]] if named[0] == "name" else named)


@pytest.mark.parametrize("table", schema.TABLES, ids=lambda table: table.name)
def test_a_key_is_made_of_columns_that_always_have_a_value(table: Table) -> None:
    optional = {column.name: column.optional for column in table.columns}

    assert not any(optional[name] for name in table.key)
