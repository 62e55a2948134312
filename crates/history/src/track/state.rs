//! What the tracker knows of each gateway, device and series.
//!
//! Bounded by what there ever was in the store: one entry for each of its series.

use std::collections::HashMap;
use std::sync::Arc;

use hearthgate_hub::{DeviceRef, GatewayId, Subject};
use hearthgate_protocol::model::{Code, DeviceId, Schema, Spec, Value};

use crate::row::{Batch, SeriesId, SeriesRow, number_of};

/// A series as it was stored.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) id: SeriesId,
    pub(crate) row: SeriesRow,
    /// The time of its newest row.
    pub(crate) at: i64,
    /// Its newest value.
    pub(crate) held: Option<Value>,
    /// Whether that still held at the newest row.
    pub(crate) is_open: bool,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) gateways: HashMap<GatewayId, GatewayState>,
    pub(super) next: Ids,
}

/// Numbers for new series.
#[derive(Debug, Default)]
pub(super) struct Ids(SeriesId);

#[derive(Debug, Default)]
pub(super) struct GatewayState {
    pub(super) link: Option<Tracked>,
    pub(super) devices: HashMap<DeviceId, DeviceState>,
    /// When it was last in sync with us, while it is not.
    pub(super) down_at: Option<i64>,
    pub(super) is_synced: bool,
    pub(super) was_available: bool,
}

#[derive(Debug, Default)]
pub(super) struct DeviceState {
    pub(super) schema: Option<Arc<Schema>>,
    pub(super) is_online: bool,
    pub(super) seen: Seen,
    online: Option<Tracked>,
    points: HashMap<Code, Tracked>,
}

/// Whether the gateway has the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Seen {
    /// It was not among its devices, or that is not known yet.
    #[default]
    No,
    /// It was.
    Yes,
}

#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) id: SeriesId,
    pub(super) row: SeriesRow,
    /// The time of its last row.
    pub(super) at: i64,
    /// The last known value.
    pub(super) held: Option<Value>,
    /// Whether it still holds.
    pub(super) is_open: bool,
}

impl State {
    pub(super) fn load(loaded: Vec<Loaded>) -> Self {
        let mut state = Self::default();
        for series in loaded {
            state.next.0 = state.next.0.max(series.id);
            let subject = series.row.subject.clone();
            let tracked = Tracked {
                id: series.id,
                row: series.row,
                at: series.at,
                held: series.held,
                is_open: series.is_open,
            };
            match subject {
                Subject::Link(gateway) => {
                    state.gateways.entry(gateway).or_default().link = Some(tracked);
                }
                Subject::Online(device) => state.device(&device).1.online = Some(tracked),
                Subject::Point(device, code) => {
                    state.device(&device).1.points.insert(code, tracked);
                }
            }
        }
        state
    }

    /// Returns a device, known or not.
    pub(super) fn device(&mut self, device: &DeviceRef) -> (&mut Ids, &mut DeviceState) {
        let gateway = self.gateways.entry(device.gateway.clone()).or_default();
        let state = gateway.devices.entry(device.device.clone()).or_default();
        (&mut self.next, state)
    }

    /// Returns a device if it is known.
    pub(super) fn known(&mut self, device: &DeviceRef) -> Option<&mut DeviceState> {
        let gateway = self.gateways.get_mut(&device.gateway)?;
        gateway.devices.get_mut(&device.device)
    }

    pub(super) fn each_device(&mut self, look: impl FnMut(&mut DeviceState)) {
        let gateways = self.gateways.values_mut();
        gateways
            .flat_map(|gateway| gateway.devices.values_mut())
            .for_each(look);
    }

    pub(super) fn each(&mut self, mut look: impl FnMut(&mut Tracked)) {
        for gateway in self.gateways.values_mut() {
            gateway.link.iter_mut().for_each(&mut look);
            for device in gateway.devices.values_mut() {
                device.online.iter_mut().for_each(&mut look);
                device.points.values_mut().for_each(&mut look);
            }
        }
    }
}

impl Ids {
    fn next(&mut self) -> SeriesId {
        self.0 += 1;
        self.0
    }
}

impl GatewayState {
    /// Returns the series of its link.
    pub(super) fn link(&mut self, id: &GatewayId, ids: &mut Ids, out: &mut Batch) -> &mut Tracked {
        self.link
            .get_or_insert_with(|| Tracked::new(Subject::Link(id.clone()), ids, out))
    }
}

impl DeviceState {
    /// Returns the series of whether it is in reach.
    pub(super) fn online(
        &mut self,
        device: &DeviceRef,
        ids: &mut Ids,
        out: &mut Batch,
    ) -> &mut Tracked {
        self.online
            .get_or_insert_with(|| Tracked::new(Subject::Online(device.clone()), ids, out))
    }

    /// Returns the series of a data point, with what its schema says now.
    pub(super) fn point(
        &mut self,
        device: &DeviceRef,
        code: &Code,
        value: &Value,
        ids: &mut Ids,
        out: &mut Batch,
    ) -> &mut Tracked {
        let spec = self
            .schema
            .as_ref()
            .and_then(|schema| schema.reading(code.as_str()))
            .map(|point| point.spec());
        let is_new = !self.points.contains_key(code);
        let tracked = self.points.entry(code.clone()).or_insert_with(|| {
            Tracked::new(Subject::Point(device.clone(), code.clone()), ids, out)
        });
        let row = &mut tracked.row;
        let before = (row.is_number, row.scale, row.unit.clone());
        match spec {
            Some(Spec::Integer(integer)) => {
                (row.is_number, row.scale) = (true, integer.scale);
                row.unit = integer.unit.to_string();
            }
            // Undeclared, or not known yet: what it is when it first comes.
            None | Some(Spec::Unknown) => {
                if is_new {
                    row.is_number = number_of(value).is_some();
                }
            }
            Some(_) => {
                (row.is_number, row.scale) = (false, 0);
                row.unit.clear();
            }
        }
        if before != (row.is_number, row.scale, row.unit.clone()) {
            out.series.insert(tracked.id, tracked.row.clone());
        }
        tracked
    }

    /// Nothing is known of it from here on.
    pub(super) fn end(&mut self, at: i64, out: &mut Batch) {
        self.online.iter_mut().for_each(|it| it.end(at, out));
        self.end_points(at, out);
    }

    /// It is out of reach from here on.
    pub(super) fn end_points(&mut self, at: i64, out: &mut Batch) {
        self.points.values_mut().for_each(|it| it.end(at, out));
    }

    /// What was last known of it holds again, if it is in reach.
    pub(super) fn resume(&mut self, at: i64, out: &mut Batch) {
        self.online
            .iter_mut()
            .for_each(|it| it.begin_again(at, out));
        if self.is_online {
            self.points
                .values_mut()
                .for_each(|it| it.begin_again(at, out));
        }
    }
}

impl Tracked {
    fn new(subject: Subject, ids: &mut Ids, out: &mut Batch) -> Self {
        let id = ids.next();
        let row = SeriesRow {
            subject,
            is_number: false,
            scale: 0,
            unit: String::new(),
        };
        out.series.insert(id, row.clone());
        Self {
            id,
            row,
            at: i64::MIN,
            held: None,
            is_open: false,
        }
    }
}
