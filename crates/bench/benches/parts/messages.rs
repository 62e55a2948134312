//! The messages that flow most, as text, and the events of a home as its gateway writes them.

use hearthgate_protocol::model::Change;
use hearthgate_protocol::wire::{EventKind, write_event};

/// An event of 145 bytes, the size of which the goals speak.
pub(crate) const EVENT: &str = concat!(
    r#"{"id":1234567,"type":"event","event_type":"state_changed","#,
    r#""data":{"devid":"bf5d8a1c9e27402b6fqz04","value":[{"k":"battery_percentage","v":100}]}}"#
);

/// The request of one device's state.
pub(crate) const GET_STATUS: &str =
    r#"{"id":77,"type":"get_status","data":["bf5d8a1c9e27402b6fqz04"]}"#;

/// A write of two data points.
pub(crate) const SET_VALUE: &str = concat!(
    r#"{"id":78,"type":"set_value","data":[{"devid":"bf5d8a1c9e27402b6fqz04","#,
    r#""value":[{"k":"switch_1","v":true},{"k":"countdown_1","v":3600}]}]}"#
);

/// Returns the event that a report becomes, under an id.
pub(crate) fn event(id: i64, change: Change) -> Vec<u8> {
    let Change::State { device, readings } = change else {
        unreachable!("benchmarks report states alone");
    };
    let mut json = Vec::new();
    write_event(&mut json, id, &EventKind::StateChanged { device, readings });
    json
}
