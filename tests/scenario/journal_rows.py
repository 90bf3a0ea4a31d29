# SPDX-License-Identifier: MIT
"""The records of a journal's file, for tests and tools that look into it or do damage: runtime/journal/pack.h in Python."""

import sqlite3

INLINE = 4096


def _number(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def unpack(data):
    """The records of a row, as dicts. A body that is kept apart is None, and its hash is in "blob"."""
    at, records = 0, []
    while at < len(data):
        record = {}
        for name in ("type", "time_us", "length"):
            record[name], at = _number(data, at)
        record["hash"], at = data[at:at + 32], at + 32
        for name in ("path", "key"):
            end = data.index(0, at)
            record[name], at = data[at:end].decode(), end + 1
        size = 32 if record["length"] > INLINE else record["length"]
        record["blob" if record["length"] > INLINE else "body"] = data[at:at + size]
        at += size
        records.append(record)
    return records


def pack(records):
    out = bytearray()
    for record in records:
        for value in (record["type"], record["time_us"], record["length"]):
            while value > 127:
                out.append(value & 127 | 128)
                value >>= 7
            out.append(value)
        out += record["hash"] + record["path"].encode() + b"\0" + record["key"].encode() + b"\0"
        out += record["blob"] if record["length"] > INLINE else record["body"]
    return bytes(out)


def records(db):
    """All records of a connection, each with its run's number, its seq and its body."""
    for run, first, data in db.execute("SELECT run, first, data FROM records ORDER BY run, first").fetchall():
        for seq, record in enumerate(unpack(data), first):
            if "blob" in record:
                record["body"] = db.execute("SELECT bytes FROM blobs WHERE hash = ?", (record["blob"],)).fetchone()[0]
            yield dict(record, run=run, seq=seq)


def add(db, run, first, records):
    db.execute("INSERT INTO records(run, first, last, data) VALUES(?, ?, ?, ?)", (run, first, first + len(records) - 1, pack(records)))


def to_format_1(path):
    """Makes a journal of format 1 of one of format 2: a row a record."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    old = [(r["run"], r["seq"], r["type"], r["time_us"], r["path"], r["key"], r["hash"], None if "blob" in r else r["body"].decode(), r.get("blob")) for r in records(db)]
    db.execute("DROP TABLE records")
    db.execute("CREATE TABLE records(id INTEGER PRIMARY KEY, run INTEGER NOT NULL, seq INTEGER NOT NULL, type INTEGER NOT NULL, "
               "time_us INTEGER NOT NULL, path TEXT NOT NULL, key TEXT NOT NULL, hash BLOB NOT NULL, body TEXT, blob BLOB)")
    db.execute("CREATE UNIQUE INDEX records_seq ON records(run, seq)")
    db.executemany("INSERT INTO records(run, seq, type, time_us, path, key, hash, body, blob) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", old)
    db.execute("PRAGMA user_version = 1")
    db.execute("COMMIT")
    db.close()


def format_of(path):
    db = sqlite3.connect(path)
    try:
        return db.execute("PRAGMA user_version").fetchone()[0]
    finally:
        db.close()


def remove(db, seq):
    """Takes a record out of each run, and leaves those before and after it."""
    for row, run, first, last, data in db.execute("SELECT id, run, first, last, data FROM records WHERE ? BETWEEN first AND last", (seq,)).fetchall():
        records = unpack(data)
        db.execute("DELETE FROM records WHERE id = ?", (row,))
        if seq > first:
            add(db, run, first, records[:seq - first])
        if seq < last:
            add(db, run, seq + 1, records[seq - first + 1:])
