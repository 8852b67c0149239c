"""Writes the nested Parquet files of crates/cli/tests/data with pyarrow, and beside them the JSON
that each row should become, made from the same Python values.

    python -m venv v && v/bin/pip install pyarrow==26.0.1
    v/bin/python compat/golden/nested_parquet.py crates/cli/tests/data
"""

import base64
import datetime
import decimal
import json
import random
import sys

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 90

ITEM = pa.struct([
    pa.field("sku", pa.string(), nullable=False),
    pa.field("price", pa.decimal128(9, 2)),
    pa.field("tags", pa.list_(pa.string())),
])

SCHEMA = pa.schema([
    pa.field("id", pa.int64(), nullable=False),
    pa.field("items", pa.list_(ITEM)),
    pa.field("counts", pa.map_(pa.string(), pa.int32())),
    pa.field("by_number", pa.map_(pa.int32(), pa.list_(pa.float64()))),
    pa.field("grid", pa.list_(pa.list_(pa.uint8()))),
    pa.field("who", pa.struct([
        pa.field("name", pa.string()),
        pa.field("seen", pa.timestamp("us", tz="UTC")),
        pa.field("born", pa.date32()),
        pa.field("raw", pa.binary()),
        pa.field("place", pa.struct([pa.field("lat", pa.float64()), pa.field("ok", pa.bool_())])),
    ])),
    pa.field("maps", pa.list_(pa.map_(pa.string(), pa.struct([pa.field("n", pa.int64())])))),
    pa.field("last", pa.string()),
])

DICE = random.Random(6)


def maybe(make, of=4):
    """Nothing now and then, else what `make` makes."""
    return None if DICE.randrange(of) == 0 else make()


def several(make, most=4):
    return [make() for _ in range(DICE.randrange(most))]


def word():
    return DICE.choice(["a", "é", "two words", 'quo"te', "", "line\nbreak", "x" * 30])


def item():
    return {
        "sku": word(),
        "price": maybe(lambda: decimal.Decimal(DICE.randrange(-99999, 99999)).scaleb(-2)),
        "tags": maybe(lambda: several(lambda: maybe(word))),
    }


def keyed(key, value):
    return [(key(), value()) for _ in range(DICE.randrange(4))]


def who():
    seen = datetime.datetime(2019, 10, 1, tzinfo=datetime.timezone.utc)
    seen += datetime.timedelta(microseconds=DICE.randrange(10**12))
    return {
        "name": maybe(word),
        "seen": maybe(lambda: seen),
        "born": maybe(lambda: seen.date()),
        "raw": maybe(lambda: bytes(DICE.randrange(256) for _ in range(DICE.randrange(5)))),
        "place": maybe(lambda: {
            "lat": maybe(lambda: DICE.randrange(-720, 720) / 8),
            "ok": maybe(lambda: DICE.random() < 0.5),
        }),
    }


def row(number):
    return {
        "id": number,
        "items": maybe(lambda: several(lambda: maybe(item))),
        "counts": maybe(lambda: keyed(word, lambda: maybe(lambda: DICE.randrange(-9, 9)))),
        "by_number": maybe(lambda: keyed(
            lambda: DICE.randrange(100),
            lambda: maybe(lambda: several(lambda: maybe(lambda: DICE.randrange(99) / 4))))),
        "grid": maybe(lambda: several(
            lambda: maybe(lambda: several(lambda: maybe(lambda: DICE.randrange(256)))))),
        "who": maybe(who),
        "maps": maybe(lambda: several(lambda: maybe(
            lambda: keyed(word, lambda: maybe(lambda: {"n": maybe(lambda: DICE.randrange(9))}))))),
        "last": maybe(word),
    }


def text(value):
    """A value in JSON, as docs/command-line.md says it is written."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, decimal.Decimal)):
        return str(value)
    if isinstance(value, datetime.datetime):
        return '"' + value.strftime("%Y-%m-%dT%H:%M:%S.%f") + 'Z"'
    if isinstance(value, datetime.date):
        return '"' + value.isoformat() + '"'
    if isinstance(value, bytes):
        return '"' + base64.b64encode(value).decode() + '"'
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        value = value.items()
    elif not (value and isinstance(value[0], tuple)):
        return "[" + ",".join(text(one) for one in value) + "]"
    return "{" + ",".join(json.dumps(str(key), ensure_ascii=False) + ":" + text(one)
                          for key, one in value) + "}"


def is_map(name):
    return name in ("counts", "by_number")


def line(values):
    parts = []
    for name, value in values.items():
        if value == [] and is_map(name):
            part = "{}"
        elif name == "maps" and value is not None:
            part = "[" + ",".join("{}" if one == [] else text(one) for one in value) + "]"
        else:
            part = text(value)
        parts.append(json.dumps(name) + ":" + part)
    return "{" + ",".join(parts) + "}\n"


def main(directory):
    rows = [row(number) for number in range(ROWS)]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    small = {"row_group_size": 40, "data_page_size": 200, "write_batch_size": 8}
    pq.write_table(table, f"{directory}/nested-pyarrow-1.parquet", compression="snappy",
                   data_page_version="1.0", **small)
    pq.write_table(table, f"{directory}/nested-pyarrow-2.parquet", compression="zstd",
                   data_page_version="2.0", use_compliant_nested_type=False,
                   use_dictionary=False, **small)
    with open(f"{directory}/nested-pyarrow.jsonl", "w", encoding="utf-8") as file:
        file.writelines(line(values) for values in rows)


main(sys.argv[1])
