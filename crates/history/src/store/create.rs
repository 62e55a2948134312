//! Makes an empty store: complete under another name, then put into its place.
//!
//! So a store in its place is never half made, and an empty file there is damage.
//!
//! The tables are for this program, compact: a change takes some 20 bytes, since series are known by
//! numbers, and rows lie in the order in which they are asked for (series, then time). The views are for
//! people and other programs, and documented in `docs/history.md`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

use rusqlite::Connection;

use super::{APPLICATION, StoreError, VERSION, access, aside};

/// The tables of version 1.
const TABLES: &str = "
    CREATE TABLE state (
        name TEXT PRIMARY KEY,       -- 'alive': when it was last known that history is kept
        value INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,       -- 0 data point, 1 device in reach, 2 link of a gateway
        gateway TEXT NOT NULL,
        device TEXT NOT NULL,        -- empty for kind 2
        code TEXT NOT NULL,          -- empty for kinds 1 and 2
        is_number INTEGER NOT NULL,  -- means are made of it
        scale INTEGER NOT NULL,      -- the quantity is value / 10^scale
        unit TEXT NOT NULL,
        UNIQUE (kind, gateway, device, code)
    ) STRICT;
    CREATE TABLE sample (
        series INTEGER NOT NULL,
        time INTEGER NOT NULL,       -- milliseconds since the Unix epoch
        seq INTEGER NOT NULL,        -- order within the millisecond
        how INTEGER NOT NULL,        -- 1 boolean, 2 read, 4 remembered, 8 the same once more
        value ANY,                   -- integer, 0 or 1 of a boolean, JSON text, or null: nothing known
        PRIMARY KEY (series, time, seq)
    ) STRICT, WITHOUT ROWID;
";

/// A table of means; `NAME` and its length are put in.
const MEANS: &str = "
    CREATE TABLE NAME (
        series INTEGER NOT NULL,
        start INTEGER NOT NULL,      -- times LENGTH milliseconds since the Unix epoch
        count INTEGER NOT NULL,      -- changes within
        low REAL,                    -- of the raw value, as all that follows
        high REAL,
        last REAL,                   -- at the end; null: nothing known then
        weighted REAL NOT NULL,      -- sum of value times milliseconds
        covered INTEGER NOT NULL,    -- milliseconds in which something was known
        PRIMARY KEY (series, start)
    ) STRICT, WITHOUT ROWID;
    CREATE VIEW NAMEs AS
    SELECT gateway, device, code,
        strftime('%Y-%m-%dT%H:%M:%SZ', start * (LENGTH / 1000), 'unixepoch') AS start,
        CASE WHEN covered > 0 THEN weighted / covered ELSE coalesce(last, low) END / pow10 AS mean,
        low / pow10 AS min,
        high / pow10 AS max,
        last / pow10 AS last,
        count,
        unit
    FROM NAME JOIN named ON named.id = NAME.series;
";

/// The views. SQLite may be without `pow`; a scale has at most 18 places.
const VIEWS: &str = "
    CREATE VIEW named AS
    SELECT id, gateway, device,
        CASE kind WHEN 1 THEN '$online' WHEN 2 THEN '$link' ELSE code END AS code,
        is_number, unit, scale,
        CAST('1e' || scale AS REAL) AS pow10
    FROM series;
    CREATE VIEW changes AS
    SELECT gateway, device, code,
        strftime('%Y-%m-%dT%H:%M:%fZ', time / 1000.0, 'unixepoch') AS time,
        CASE
            WHEN how & 1 THEN CASE value WHEN 0 THEN 'false' ELSE 'true' END
            WHEN typeof(value) = 'integer' AND scale = 0 THEN value
            WHEN is_number AND json_valid(value) AND json_type(value) IN ('integer', 'real')
                THEN json_extract(value, '$') / pow10
            WHEN typeof(value) = 'text' AND json_valid(value) AND json_type(value) = 'text'
                THEN json_extract(value, '$')
            ELSE value
        END AS value,
        unit,
        CASE how >> 1 & 3 WHEN 0 THEN 'event' WHEN 1 THEN 'read' ELSE 'cache' END AS source,
        how >> 3 & 1 AS repeated,
        time AS milliseconds,
        value AS raw
    FROM sample JOIN named ON named.id = sample.series;
";

/// Makes an empty store where there is none.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    let unfinished = path.with_extension("new");
    remove(&unfinished)
        .and_then(|()| remove(&aside::log_of(&unfinished)))
        .map_err(access("make", path))?;
    private(OpenOptions::new().create_new(true))
        .open(&unfinished)
        .map_err(access("make", path))?;
    fill(&unfinished).map_err(|error| access("make", path)(io::Error::other(error)))?;
    let put = || {
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, path)?;
        match path.parent().filter(|it| !it.as_os_str().is_empty()) {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    put().map_err(access("make", path))
}

fn fill(path: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    // Before anything is in it: free pages can be given back to the disk later.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // Flushed as a whole before it counts.
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.execute_batch(TABLES)?;
    connection.execute_batch(VIEWS)?;
    for (name, length) in [
        ("minute", "60000"),
        ("hour", "3600000"),
        ("day", "86400000"),
    ] {
        let table = MEANS.replace("NAME", name).replace("LENGTH", length);
        connection.execute_batch(&table)?;
    }
    connection.pragma_update(None, "user_version", VERSION)?;
    connection.close().map_err(|(_, error)| error)
}

/// Makes options of a file that its owner alone can read; SQLite gives its log the same permissions.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.write(true)
}

/// Makes a folder that its owner alone can read, where there is none.
pub(super) fn folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
