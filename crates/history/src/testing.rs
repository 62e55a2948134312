//! Fills stores without a hub, for the example that measures. No part of what is promised.

use std::fs::File;
use std::path::Path;

use hearthgate_hub::{DeviceRef, Subject};
use hearthgate_protocol::model::{Source, Timestamp, Value};

use crate::row::{Batch, Row, SeriesRow};
use crate::store::{self, Store, StoreError};

/// Writes changes of thermometers, by the same way as the changes of a hub.
#[derive(Debug)]
pub struct Filler {
    store: Store,
    _lock: File,
}

impl Filler {
    /// Opens a store, or makes one.
    ///
    /// # Errors
    /// Where that is not possible.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = store::lock(path)?;
        let (store, _) = Store::open(path)?;
        Ok(Self { store, _lock: lock })
    }

    /// Writes changes as one transaction: the number of the series, the time, the value.
    ///
    /// # Panics
    /// Where the disk refuses.
    pub fn commit(&mut self, changes: impl IntoIterator<Item = (i64, i64, i64)>) {
        let mut batch = Batch::default();
        let mut now = 0;
        for (series, at, value) in changes {
            now = at;
            batch.series.entry(series).or_insert_with(|| SeriesRow {
                subject: Subject::Point(
                    DeviceRef::new("gw", format!("dev{series}")),
                    "temp".into(),
                ),
                is_number: true,
                scale: 1,
                unit: "C".to_owned(),
            });
            batch.rows.push_back(Row {
                series,
                at: Timestamp(at),
                value: Some(Value::from(value)),
                is_number: true,
                source: Source::Event,
                repeated: false,
            });
        }
        let stored = self.store.commit(&batch, now);
        assert!(stored.is_ok(), "{stored:?}");
    }

    /// Closes it, with the time until which all is known.
    pub fn close(self, now: i64) {
        let _ = self.store.heartbeat(now);
        self.store.close();
    }
}
