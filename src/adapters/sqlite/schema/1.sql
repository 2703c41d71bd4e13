-- Version 1. The triggers make the file itself append-only: an accident or another program cannot rewrite
-- what was remembered without first dropping them, and the chain still tells.

CREATE TABLE entry (
  seq INTEGER PRIMARY KEY,
  stream TEXT NOT NULL,
  tenant TEXT NOT NULL AS (substr(stream, 1, instr(stream, '/') - 1)) VIRTUAL,
  stream_seq INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  author TEXT NOT NULL,
  origin TEXT NOT NULL,
  cause INTEGER NOT NULL,
  version INTEGER NOT NULL,
  commitment BLOB NOT NULL,
  hash BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX entry_stream ON entry (stream, stream_seq);
-- The row id, which is seq, is the rest of every index key.
CREATE INDEX entry_tenant ON entry (tenant);

-- Beside the entry, so that a body can be erased while its commitment stays in the chain.
CREATE TABLE body (
  seq INTEGER PRIMARY KEY,
  salt BLOB NOT NULL,
  bytes BLOB NOT NULL
) STRICT;

CREATE TABLE erasure (
  seq INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  author TEXT NOT NULL,
  reason TEXT NOT NULL
) STRICT;

-- Where each stream ends. Follows from entry, by a trigger; verified against it.
CREATE TABLE stream (
  name TEXT PRIMARY KEY,
  tenant TEXT NOT NULL AS (substr(name, 1, instr(name, '/') - 1)) VIRTUAL,
  kind TEXT NOT NULL AS (
    substr(name, instr(name, '/') + 1, instr(substr(name, instr(name, '/') + 1), '/') - 1)
  ) VIRTUAL,
  last_seq INTEGER NOT NULL,
  last_stream_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX stream_newest ON stream (tenant, kind, last_seq);

-- Opening verifies only what comes after the last of these.
CREATE TABLE checkpoint (
  seq INTEGER PRIMARY KEY,
  hash BLOB NOT NULL,
  at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE blob (
  tenant TEXT NOT NULL,
  digest TEXT NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY (tenant, digest)
) STRICT;

-- An insert checks for itself, because INSERT OR REPLACE removes a row without a delete trigger.
CREATE TRIGGER entry_insert BEFORE INSERT ON entry
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM entry)
BEGIN SELECT RAISE(ABORT, 'entries are appended without gaps'); END;
CREATE TRIGGER entry_stream AFTER INSERT ON entry
BEGIN
  INSERT INTO stream (name, last_seq, last_stream_seq) VALUES (NEW.stream, NEW.seq, NEW.stream_seq)
  ON CONFLICT (name) DO UPDATE SET last_seq = excluded.last_seq, last_stream_seq = excluded.last_stream_seq;
END;
CREATE TRIGGER entry_update BEFORE UPDATE ON entry
BEGIN SELECT RAISE(ABORT, 'entries never change'); END;
CREATE TRIGGER entry_delete BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'entries are never deleted'); END;

CREATE TRIGGER body_insert BEFORE INSERT ON body
WHEN NOT EXISTS (SELECT 1 FROM entry WHERE seq = NEW.seq) OR EXISTS (SELECT 1 FROM body WHERE seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM erasure WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'an entry has one body, once'); END;
CREATE TRIGGER body_update BEFORE UPDATE ON body
BEGIN SELECT RAISE(ABORT, 'bodies never change'); END;
CREATE TRIGGER body_delete BEFORE DELETE ON body
WHEN NOT EXISTS (SELECT 1 FROM erasure WHERE seq = OLD.seq)
BEGIN SELECT RAISE(ABORT, 'a body is erased with a reason'); END;

CREATE TRIGGER erasure_insert BEFORE INSERT ON erasure
WHEN EXISTS (SELECT 1 FROM erasure WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'erasures never change'); END;
CREATE TRIGGER erasure_update BEFORE UPDATE ON erasure
BEGIN SELECT RAISE(ABORT, 'erasures never change'); END;
CREATE TRIGGER erasure_delete BEFORE DELETE ON erasure
BEGIN SELECT RAISE(ABORT, 'erasures are never deleted'); END;

CREATE TRIGGER checkpoint_insert BEFORE INSERT ON checkpoint
WHEN NEW.seq IS NOT (SELECT max(seq) FROM entry) OR EXISTS (SELECT 1 FROM checkpoint WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'a checkpoint is at the last entry'); END;
CREATE TRIGGER checkpoint_update BEFORE UPDATE ON checkpoint
BEGIN SELECT RAISE(ABORT, 'checkpoints never change'); END;
CREATE TRIGGER checkpoint_delete BEFORE DELETE ON checkpoint
BEGIN SELECT RAISE(ABORT, 'checkpoints are never deleted'); END;

CREATE TRIGGER stream_insert BEFORE INSERT ON stream
WHEN NEW.last_stream_seq IS NOT 1 AND NOT EXISTS (SELECT 1 FROM stream WHERE name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'streams begin with 1'); END;
CREATE TRIGGER stream_update BEFORE UPDATE ON stream
WHEN NEW.last_seq <= OLD.last_seq OR NEW.last_stream_seq IS NOT OLD.last_stream_seq + 1 OR NEW.name IS NOT OLD.name
BEGIN SELECT RAISE(ABORT, 'streams grow without gaps'); END;
CREATE TRIGGER stream_delete BEFORE DELETE ON stream
BEGIN SELECT RAISE(ABORT, 'streams are never deleted'); END;

CREATE TRIGGER blob_update BEFORE UPDATE ON blob
BEGIN SELECT RAISE(ABORT, 'blobs never change'); END;
