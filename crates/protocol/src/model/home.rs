//! The devices of one gateway, and the only functions that change them.
//!
//! The gateway's registry and the client's mirror both own a [`Home`]; the same [`Change`]s applied
//! in the same order make the same home on both sides.

use foldhash::quality::RandomState;
use indexmap::IndexMap;

use super::change::{Change, Stamp, Update};
use super::device::{Device, DeviceId, Point, Reading};

/// The devices of one gateway, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// Hashed under keys of chance, in a fifth of the time that the standard library's hash takes: a look-up
    /// per event and per device of a request is much of what there is to do. It withstands a flood of chosen
    /// ids less well; ids come from the gateway's own configuration, or from a gateway that knows the key.
    devices: IndexMap<DeviceId, Device, RandomState>,
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Something is different now.
    Changed,
    /// The device is known and nothing differs: still an event (section 6), no new state.
    Same,
    /// There is no such device: nothing was done.
    UnknownDevice,
}

impl Home {
    /// Applies a change; values in it are confirmed by `stamp`.
    pub fn apply(&mut self, change: &Change, stamp: Stamp) -> Applied {
        match change {
            Change::Upsert(device) => self.upsert(device),
            // A removal is rare and order is worth its cost: listings stay stable.
            Change::Remove(id) => match self.devices.shift_remove(id) {
                Some(_) => Applied::Changed,
                None => Applied::UnknownDevice,
            },
            Change::Online {
                device,
                online,
                readings,
            } => {
                let online = Some(*online);
                let update = Update {
                    device,
                    online,
                    readings,
                };
                self.update(update, stamp)
            }
            Change::State { device, readings } => {
                let update = Update {
                    device,
                    online: None,
                    readings,
                };
                self.update(update, stamp)
            }
        }
    }

    /// Applies what is said about the state of one device; values in it are confirmed by `stamp`.
    pub fn update(&mut self, update: Update<'_>, stamp: Stamp) -> Applied {
        let Some(device) = self.devices.get_mut(update.device) else {
            return Applied::UnknownDevice;
        };
        let online = update.online.unwrap_or(device.online);
        let turned = std::mem::replace(&mut device.online, online) != online;
        let differs = confirm(device, update.readings, stamp);
        if turned || differs {
            Applied::Changed
        } else {
            Applied::Same
        }
    }

    /// Returns a device.
    pub fn device(&self, id: &str) -> Option<&Device> {
        self.devices.get(id)
    }

    /// Returns the devices in order.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = &Device> + Clone {
        self.devices.values()
    }

    /// Returns how many devices there are.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Tells whether there is no device.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    fn upsert(&mut self, device: &Device) -> Applied {
        match self.devices.get_mut(device.id().as_str()) {
            Some(known) if known == device => Applied::Same,
            Some(known) => {
                *known = device.clone();
                Applied::Changed
            }
            None => {
                self.devices.insert(device.id().clone(), device.clone());
                Applied::Changed
            }
        }
    }
}

impl FromIterator<Device> for Home {
    fn from_iter<I: IntoIterator<Item = Device>>(devices: I) -> Self {
        Self {
            devices: devices
                .into_iter()
                .map(|device| (device.id().clone(), device))
                .collect(),
        }
    }
}

/// Takes readings over; tells whether any of them is new.
fn confirm(device: &mut Device, readings: &[Reading], stamp: Stamp) -> bool {
    let mut differs = false;
    for reading in readings {
        let mut points = device.points.iter_mut();
        match points.find(|point| point.code == reading.code) {
            Some(point) => {
                point.confirmed = stamp;
                if point.value != reading.value {
                    point.value = reading.value.clone();
                    point.changed = stamp.at;
                    differs = true;
                }
            }
            None => {
                // The schema's own where it has it: devices of a kind then share the memory of their codes,
                // which is still at hand when the next of them reports.
                let declared = device.schema.reading(reading.code.as_str());
                let code = declared.map_or(&reading.code, |point| point.code()).clone();
                device.points.push(Point {
                    code,
                    value: reading.value.clone(),
                    confirmed: stamp,
                    changed: stamp.at,
                });
                differs = true;
            }
        }
    }
    differs
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Schema, Source, Timestamp, Value};
    use super::*;

    const FIRST: Stamp = Stamp {
        at: Timestamp(1),
        source: Source::Read,
    };
    const LATER: Stamp = Stamp {
        at: Timestamp(2),
        source: Source::Event,
    };

    fn home() -> Home {
        let schema = Arc::new(Schema::new("kg", Vec::new(), Vec::new()));
        let readings = [Reading::new("switch_1", Value::from(true))];
        [Device::new("a".into(), schema, true, readings, FIRST)]
            .into_iter()
            .collect()
    }

    fn state(code: &str, value: Value) -> Change {
        Change::State {
            device: "a".into(),
            readings: vec![Reading::new(code, value)],
        }
    }

    #[test]
    fn an_equal_value_is_confirmed_but_not_changed() {
        let mut home = home();
        assert_eq!(
            home.apply(&state("switch_1", Value::from(true)), LATER),
            Applied::Same
        );
        let point = home.device("a").unwrap().point("switch_1").unwrap();
        assert_eq!((point.confirmed, point.changed), (LATER, Timestamp(1)));
    }

    #[test]
    fn a_code_that_no_schema_declares_is_kept() {
        let mut home = home();
        assert_eq!(
            home.apply(&state("odd", Value::from(7)), LATER),
            Applied::Changed
        );
        assert_eq!(
            home.device("a").unwrap().point("odd").unwrap().value,
            Value::from(7)
        );
    }

    #[test]
    fn an_unknown_device_changes_nothing() {
        let mut home = home();
        let before = home.clone();
        assert_eq!(
            home.apply(&Change::Remove("b".into()), LATER),
            Applied::UnknownDevice
        );
        let change = Change::Online {
            device: "b".into(),
            online: false,
            readings: Vec::new(),
        };
        assert_eq!(home.apply(&change, LATER), Applied::UnknownDevice);
        assert_eq!(home, before);
    }

    #[test]
    fn going_offline_keeps_the_values() {
        let mut home = home();
        let change = Change::Online {
            device: "a".into(),
            online: false,
            readings: Vec::new(),
        };
        assert_eq!(home.apply(&change, LATER), Applied::Changed);
        assert_eq!(home.apply(&change, LATER), Applied::Same);
        let device = home.device("a").unwrap();
        assert!(!device.online() && device.point("switch_1").is_some());
    }
}
