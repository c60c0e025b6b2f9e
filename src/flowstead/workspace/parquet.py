"""Small flat Parquet tables, written and read without a library.

What workstations tell each other is Parquet, so that any tool can read it. But importing pyarrow costs 150 ms and
45 MB, more than a whole command or the idle daemon may take, and a lease is one row. So here is the little that is
needed of the format (https://parquet.apache.org/docs/file-format/): optional columns of int64, double and string,
PLAIN, one row group, one page a column, gzip where it helps. Only what this module wrote can be read with it: the
last entry of the file's key-value metadata is a checksum over everything else, so damage anywhere is noticed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Column = tuple[str, Sequence[Any]]
"""A kind (`int64`, `double` or `string`) and the values; None is null."""

_MAGIC = b"PAR1"
_TYPES = {"int64": 2, "double": 5, "string": 6}
_KINDS = {number: kind for kind, number in _TYPES.items()}
_PLAIN, _RLE, _OPTIONAL, _UTF8, _UNCOMPRESSED, _GZIP = 0, 3, 1, 0, 0, 2
_COMPRESSED_FROM = 200
"""Bytes from which a page is compressed; below, gzip's frame costs what it saves."""
_LARGEST_PAGE = 2**31 - 1
_CHECKSUM_KEY = b"flowstead.crc32"
_CREATED_BY = b"flowstead"

# The footer's end has always the same length, so the checksum's place is known from the end of the file.
_BEFORE_CHECKSUM = b"\x18" + bytes([len(_CHECKSUM_KEY)]) + _CHECKSUM_KEY + b"\x18\x08"
_AFTER_CHECKSUM = b"\x00\x18" + bytes([len(_CREATED_BY)]) + _CREATED_BY + b"\x00"
_CHECKSUM_END = len(_AFTER_CHECKSUM) + 8
_CHECKSUM_START = _CHECKSUM_END + 8


def encode_table(columns: Mapping[str, Column], metadata: Mapping[str, str] | None = None) -> bytes:
    """A Parquet file of these columns, in their order, all of one length, with key-value `metadata`.

    Raises ValueError for columns of unlike lengths, none at all, and values that their kind cannot hold.
    """
    lengths = {len(values) for _, values in columns.values()}
    if len(lengths) != 1:
        raise ValueError(f"A table needs columns of one length, not of {sorted(lengths)}.")
    (rows,) = lengths
    parts, chunks, at = [_MAGIC], bytearray(), 4
    for name, (kind, values) in columns.items():
        if not rows:
            continue
        codec, plain_size, page = _page(name, kind, values)
        parts.append(page)
        chunks += (
            _i64(2, at)
            + _struct(1)
            + _i32(1, _TYPES[kind])
            + _list(1, 5, [_varint(_zigzag(_RLE)), _varint(_zigzag(_PLAIN))])
            + _list(1, 8, [_text(name)])
            + _i32(1, codec)
            + _i64(1, rows)
            + _i64(1, plain_size)
            + _i64(1, len(page))
            + _i64(2, at)
            + b"\x00\x00"
        )
        at += len(page)
    groups: list[bytes] = []
    if rows:
        groups.append(_list_of_structs(1, len(columns), bytes(chunks)) + _i64(1, at - 4) + _i64(1, rows) + b"\x00")
    schema = [_binary(4, b"schema") + _i32(1, len(columns)) + b"\x00"]
    schema += [_schema_element(name, kind) for name, (kind, _) in columns.items()]
    entries = [
        _binary(1, key.encode()) + _binary(1, value.encode()) + b"\x00" for key, value in (metadata or {}).items()
    ]
    footer = (
        _i32(1, 1)
        + _list(1, 12, schema)
        + _i64(1, rows)
        + _list(1, 12, groups)
        + _list(1, 12, [*entries, _BEFORE_CHECKSUM])
    )
    end = struct.pack("<I", len(footer) + 8 + len(_AFTER_CHECKSUM)) + _MAGIC
    body = b"".join((*parts, footer))
    checksum = f"{zlib.crc32(_AFTER_CHECKSUM + end, zlib.crc32(body)):08x}".encode()
    return b"".join((body, checksum, _AFTER_CHECKSUM, end))


class Table(NamedTuple):
    """A decoded file."""

    columns: dict[str, list[Any]]
    metadata: dict[str, str]


def decode(data: bytes) -> Table:
    """What a file made by `encode_table` holds. Raises ValueError for one that is damaged or made by others."""
    footer = _footer(data)
    try:
        kinds = {element[4].decode(): _KINDS[element[1]] for element in footer[2][1:]}
        columns: dict[str, list[Any]] = {name: [] for name in kinds}
        for group in footer[4]:
            for chunk in group[1]:
                facts = chunk[3]
                name = facts[3][0].decode()
                columns[name] = _read_chunk(data, facts, kinds[name])
        return Table(columns, _metadata(footer))
    except (LookupError, TypeError, AttributeError, struct.error, zlib.error) as error:
        raise ValueError(f"It is no table of the kind that Flowstead writes: {error!r}.") from error


def decode_table(data: bytes) -> dict[str, list[Any]]:
    """The columns alone; see `decode`."""
    return decode(data).columns


def decode_metadata(data: bytes) -> dict[str, str]:
    """The key-value metadata alone, at little cost; see `decode`."""
    footer = _footer(data)
    try:
        return _metadata(footer)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"It is no table of the kind that Flowstead writes: {error!r}.") from error


def _metadata(footer: dict[int, Any]) -> dict[str, str]:
    return {entry[1].decode(): entry[2].decode() for entry in footer[5][:-1]}


# -- writing ----------------------------------------------------------------------------------------------------


def _page(name: str, kind: str, values: Sequence[Any]) -> tuple[int, int, bytes]:
    """The codec, the size that the page would have uncompressed, and the page with its header."""
    there = [value for value in values if value is not None]
    levels = _levels(values, len(there))
    try:
        plain = struct.pack("<I", len(levels)) + levels + _plain(kind, there)
    except (struct.error, AttributeError, UnicodeEncodeError, KeyError) as error:
        raise ValueError(f"The column {name} of {kind} cannot hold its values: {error}.") from error
    if len(plain) > _LARGEST_PAGE:
        raise ValueError(f"The column {name} has more than 2 GiB.")
    codec, stored = _UNCOMPRESSED, plain
    if len(plain) >= _COMPRESSED_FROM:
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        packed = packer.compress(plain) + packer.flush()
        if len(packed) < len(plain):
            codec, stored = _GZIP, packed
    (crc,) = struct.unpack("<i", struct.pack("<I", zlib.crc32(stored)))
    header = (
        _i32(1, 0)
        + _i32(1, len(plain))
        + _i32(1, len(stored))
        + _i32(1, crc)
        + _struct(1)
        + _i32(1, len(values))
        + _i32(1, _PLAIN)
        + _i32(1, _RLE)
        + _i32(1, _RLE)
        + b"\x00\x00"
    )
    return codec, len(header) + len(plain), header + stored


def _levels(values: Sequence[Any], there: int) -> bytes:
    """Which values are there: one run where all are alike, else a bit each."""
    if there in (0, len(values)):
        return _varint(len(values) << 1) + (b"\x01" if there else b"\x00")
    groups = (len(values) + 7) // 8
    bits = "".join(["0" if value is None else "1" for value in reversed(values)])
    return _varint(groups << 1 | 1) + int(bits, 2).to_bytes(groups, "little")


def _plain(kind: str, values: list[Any]) -> bytes:
    if kind == "int64":
        return struct.pack(f"<{len(values)}q", *values)
    if kind == "double":
        return struct.pack(f"<{len(values)}d", *values)
    if kind != "string":
        raise KeyError(kind)
    parts: list[bytes] = []
    for value in values:
        encoded = value.encode()
        parts.append(len(encoded).to_bytes(4, "little"))
        parts.append(encoded)
    return b"".join(parts)


def _schema_element(name: str, kind: str) -> bytes:
    element = _i32(1, _TYPES[kind]) + _i32(2, _OPTIONAL) + _binary(1, name.encode())
    if kind == "string":
        element += _i32(2, _UTF8) + _struct(4) + _struct(1) + b"\x00\x00"
    return element + b"\x00"


# Thrift's compact protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md): a
# field is led by a byte of its distance to the field before (`step`) and its type.


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _i32(step: int, value: int) -> bytes:
    return bytes([step << 4 | 5]) + _varint(_zigzag(value))


def _i64(step: int, value: int) -> bytes:
    return bytes([step << 4 | 6]) + _varint(_zigzag(value))


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _varint(len(encoded)) + encoded


def _binary(step: int, value: bytes) -> bytes:
    return bytes([step << 4 | 8]) + _varint(len(value)) + value


def _struct(step: int) -> bytes:
    return bytes([step << 4 | 12])


def _list(step: int, kind: int, items: list[bytes]) -> bytes:
    return bytes([step << 4 | 9]) + _list_head(len(items), kind) + b"".join(items)


def _list_of_structs(step: int, count: int, items: bytes) -> bytes:
    return bytes([step << 4 | 9]) + _list_head(count, 12) + items


def _list_head(count: int, kind: int) -> bytes:
    return bytes([count << 4 | kind]) if count < 15 else bytes([0xF0 | kind]) + _varint(count)


# -- reading ----------------------------------------------------------------------------------------------------


def _footer(data: bytes) -> dict[int, Any]:
    """The file's own description, once the checksum has shown that every byte is as it was written."""
    if len(data) < 12 or data[:4] != _MAGIC or data[-4:] != _MAGIC:
        raise ValueError("It is no whole Parquet file.")
    end = len(data) - _CHECKSUM_END
    start = len(data) - _CHECKSUM_START
    if start < 4 or data[start - len(_BEFORE_CHECKSUM) : start] != _BEFORE_CHECKSUM:
        raise ValueError("It has no checksum of Flowstead's where one should be: it is damaged, or made by others.")
    view = memoryview(data)
    if data[start:end] != f"{zlib.crc32(view[end:], zlib.crc32(view[:start])):08x}".encode():
        raise ValueError("It is damaged: its checksum does not fit its content.")
    (size,) = struct.unpack("<I", data[-8:-4])
    try:
        footer, _ = _read_struct(data, len(data) - 8 - size)
    except (IndexError, struct.error) as error:
        raise ValueError(f"Its footer cannot be understood: {error}.") from error
    return footer


def _read_chunk(data: bytes, facts: dict[int, Any], kind: str) -> list[Any]:
    header, at = _read_struct(data, facts[9])
    page = data[at : at + header[3]]
    if facts[4] == _GZIP:
        page = zlib.decompress(page, 31)
    if len(page) != header[2]:
        raise ValueError("A page of it has another size than it says.")
    count = header[5][1]
    (size,) = struct.unpack_from("<I", page)
    start = 4 + size
    head, at = _read_varint(page, 4)
    if not head & 1:
        if not page[at]:
            return [None] * count
        return _read_plain(page, start, kind, count)
    bits = f"{int.from_bytes(page[at:start], 'little'):0{(head >> 1) * 8}b}"[::-1][:count]
    there = iter(_read_plain(page, start, kind, bits.count("1")))
    return [next(there) if bit == "1" else None for bit in bits]


def _read_plain(page: bytes, at: int, kind: str, count: int) -> list[Any]:
    if kind != "string":
        return list(struct.unpack_from(f"<{count}{'q' if kind == 'int64' else 'd'}", page, at))
    values: list[Any] = []
    for _ in range(count):
        start = at + 4
        at = start + int.from_bytes(page[at:start], "little")
        values.append(page[start:at].decode())
    return values


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _read_struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Fields by their number, and where the struct ends."""
    fields: dict[int, Any] = {}
    number = 0
    while True:
        byte = data[at]
        at += 1
        if not byte:
            return fields, at
        number += byte >> 4
        fields[number], at = _read_value(data, at, byte & 0x0F)


def _read_value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (5, 6):
        value, at = _read_varint(data, at)
        return (value >> 1) ^ -(value & 1), at
    if kind == 8:
        size, at = _read_varint(data, at)
        return data[at : at + size], at + size
    if kind == 12:
        return _read_struct(data, at)
    if kind == 9:
        head = data[at]
        at += 1
        count = head >> 4
        if count == 15:
            count, at = _read_varint(data, at)
        items: list[Any] = []
        for _ in range(count):
            item, at = _read_value(data, at, head & 0x0F)
            items.append(item)
        return items, at
    raise ValueError(f"Its footer has a field of type {kind}, which Flowstead does not write.")
