//! Sessions over streams in memory, with time that stands still unless nothing else is to do.

mod bug;
mod handshake;
mod requests;
mod size;
mod slow;

use std::time::Duration;

use hearthgate_protocol::wire::{Event, EventKind};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns the integer that the first reading of a `state_changed` or `online_updated` carries.
fn number(event: &Event) -> i64 {
    match &event.kind {
        EventKind::StateChanged { readings, .. } => readings[0].value.as_i64().unwrap(),
        other => panic!("expected a state_changed, got {other:?}"),
    }
}
