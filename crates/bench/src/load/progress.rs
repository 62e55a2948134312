//! How far a load is, for whoever waits for it.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// What is being done, and how much of it is done. Written by the loads, read by whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    phase: Mutex<&'static str>,
    done: AtomicU64,
}

impl Progress {
    pub(super) fn begin(&self, phase: &'static str) {
        *self.phase.lock() = phase;
        self.done.store(0, Ordering::Relaxed);
    }

    pub(super) fn add(&self, done: u64) {
        self.done.fetch_add(done, Ordering::Relaxed);
    }

    pub(super) fn reach(&self, done: usize) {
        let done = u64::try_from(done).unwrap_or(u64::MAX);
        self.done.store(done, Ordering::Relaxed);
    }

    /// Returns what is being done, such as `handshakes`, and how many of them are; an empty text before the
    /// first.
    pub fn now(&self) -> (&'static str, u64) {
        (*self.phase.lock(), self.done.load(Ordering::Relaxed))
    }
}
