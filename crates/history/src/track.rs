//! What is a change: from the hub's feed to rows. Pure: the clock is an argument.
//!
//! Input: items of the feed, and what the store knows of each series. Output: rows, in a [`Batch`].
//!
//! # What is kept
//! - A value that differs from the one before, whether told by an event or found by reading.
//! - An equal value only where it is an event of its own: it came live, is a word or text (no number, no
//!   switch), and nobody can set it. That is a button pressed twice, or a motion seen again. A thermometer
//!   that repeats 21.5 every minute has nothing to add to its history.
//! - Where knowledge ends: a device is out of reach or gone, its gateway is unavailable (from the moment
//!   its link was lost), the hub was not running, the clock was set. Such a row has no value. When all is
//!   back the value is written again, if it is the same.
//!
//! # Clocks
//! A step of the wall clock by more than [`JUMP`], which the monotonic clock does not show, ends all series
//! at the old time and begins them at the new one. Where that is earlier, rows are put in before later ones;
//! `store` computes the means of such stretches anew. Smaller steps backwards are held up: a row is never
//! earlier than the one before it in its series.

mod state;

use std::time::{Duration, Instant};

use hearthgate_hub::{DeviceRef, GatewayInfo, HubItem, Link};
use hearthgate_protocol::model::{Device, Point, Reading, Source, Spec, Timestamp, Value};
use hearthgate_protocol::wire::{Event, EventKind};

pub(crate) use self::state::Loaded;
use self::state::{DeviceState, GatewayState, Seen, State, Tracked};
use crate::row::{Batch, Row};

/// A step of the wall clock that counts as one, in milliseconds.
pub(crate) const JUMP: i64 = 60_000;
/// So long a hub may have been away without a gap in the history, in milliseconds: it was restarted.
pub(crate) const RESTART: i64 = 120_000;
/// How often gateways that stay away are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// The longest JSON text of a value that is kept.
const LONGEST_VALUE: usize = 64 * 1024;

/// A point in time by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Milliseconds since the epoch.
    pub(crate) wall: i64,
    pub(crate) steady: Instant,
}

/// Makes rows of items.
#[derive(Debug)]
pub(crate) struct Tracker {
    state: State,
    last: Moment,
    /// When gateways that stay away were last looked for.
    looked: Instant,
    /// Whether a snapshot is being told: until it is complete, nothing is missing from it.
    in_snapshot: bool,
    lost: u64,
    told_of_length: bool,
}

impl Tracker {
    /// Goes on from what is stored. `alive` is when the store was last known to be kept.
    pub(crate) fn new(
        loaded: Vec<Loaded>,
        alive: Option<i64>,
        now: Moment,
        out: &mut Batch,
    ) -> Self {
        let mut state = State::load(loaded);
        if let Some(alive) = alive {
            let away = now.wall.saturating_sub(alive);
            if !(-JUMP..=RESTART).contains(&away) {
                state.each(|tracked| tracked.end(alive, out));
            }
        }
        for gateway in state.gateways.values_mut() {
            gateway.down_at = Some(now.wall);
        }
        Self {
            state,
            last: now,
            looked: now.steady,
            in_snapshot: false,
            lost: 0,
            told_of_length: false,
        }
    }

    /// Returns how many items were lost since it was last asked.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Returns all series, for a store that is made anew; everything known begins there.
    pub(crate) fn begin_anew(&mut self, now: Moment, out: &mut Batch) {
        out.clear();
        self.state.each(|tracked| {
            out.series.insert(tracked.id, tracked.row.clone());
            if std::mem::take(&mut tracked.is_open) {
                tracked.begin_again(now.wall, out);
            }
        });
    }

    /// Does what the passing of time asks for; called at least every minute.
    pub(crate) fn handle_time(&mut self, now: Moment, out: &mut Batch) {
        if now.steady < self.last.steady {
            // An item that waited: its time is no news about the clock.
            return;
        }
        let steady = now.steady.saturating_duration_since(self.last.steady);
        let steady = i64::try_from(steady.as_millis()).unwrap_or(i64::MAX);
        let step = now
            .wall
            .saturating_sub(self.last.wall)
            .saturating_sub(steady);
        if step.abs() > JUMP {
            tracing::warn!(
                "the clock was set by {} s: the history has a gap there",
                step / 1000
            );
            let until = self.last.wall.saturating_add(steady);
            self.state.each(|tracked| {
                if tracked.is_open {
                    tracked.end(until, out);
                    tracked.at = now.wall;
                    tracked.begin_again(now.wall, out);
                }
            });
            for gateway in self.state.gateways.values_mut() {
                gateway.down_at = gateway.down_at.map(|_| now.wall);
            }
        }
        self.last = now;
        if now.steady.saturating_duration_since(self.looked) < LOOK {
            return;
        }
        self.looked = now.steady;
        for gateway in self.state.gateways.values_mut() {
            if gateway.down_at.is_some_and(|at| now.wall - at > RESTART) {
                gateway.end(out);
            }
        }
    }

    /// Takes an item of the feed over.
    pub(crate) fn handle(&mut self, now: Moment, item: &HubItem, out: &mut Batch) {
        self.handle_time(now, out);
        match item {
            HubItem::Init => {
                self.in_snapshot = true;
                self.state.each_device(|device| device.seen = Seen::No);
            }
            HubItem::InitDone => {
                self.in_snapshot = false;
                for gateway in self.state.gateways.values_mut() {
                    if gateway.is_synced {
                        gateway.resume(now.wall, out);
                    }
                }
            }
            HubItem::Gateway(info) => self.gateway(now.wall, info, out),
            HubItem::GatewayGone(id) => {
                if let Some(gateway) = self.state.gateways.get_mut(id) {
                    gateway.down_at.get_or_insert(now.wall);
                    gateway.end(out);
                    gateway.is_synced = false;
                    gateway.link.iter_mut().for_each(|it| it.end(now.wall, out));
                }
            }
            HubItem::Device { gateway, device } => {
                let at = DeviceRef::new(gateway.clone(), device.id().clone());
                self.device(now.wall, &at, device, out);
            }
            HubItem::DeviceGone(device) => {
                if let Some(device) = self.state.known(device) {
                    device.seen = Seen::No;
                    device.end(now.wall, out);
                }
            }
            HubItem::Event {
                gateway, event, at, ..
            } => self.event(gateway.as_str(), event, at.0, out),
            HubItem::Missed { items } => self.lost = self.lost.saturating_add(*items),
            // Names are kept elsewhere; what else may come is no history.
            _ => {}
        }
    }

    fn gateway(&mut self, now: i64, info: &GatewayInfo, out: &mut Batch) {
        let ids = &mut self.state.next;
        let gateway = self.state.gateways.entry(info.id.clone()).or_default();
        let is_up = match info.link {
            Link::Up => Some(true),
            Link::Down(_) | Link::NoKey(_) => Some(false),
            _ => None,
        };
        if let Some(is_up) = is_up {
            let link = gateway.link(&info.id, ids, out);
            link.observe(now, &Value::from(is_up), Source::Event, false, out);
        }
        gateway.is_synced = info.synced;
        if info.synced {
            gateway.down_at = None;
            gateway.was_available = true;
            if !self.in_snapshot {
                gateway.resume(now, out);
            }
            return;
        }
        gateway.down_at.get_or_insert(now);
        // A hub that starts says so of all gateways: they have a while to be found.
        if !info.available && gateway.was_available {
            gateway.end(out);
        }
    }

    fn device(&mut self, now: i64, at: &DeviceRef, device: &Device, out: &mut Batch) {
        let (ids, state) = self.state.device(at);
        state.schema = Some(device.schema().clone());
        state.seen = Seen::Yes;
        state.is_online = device.online();
        let live = device.points().iter().map(|point| point.confirmed.source);
        let is_memory = live.clone().count() > 0 && live.clone().all(|it| it == Source::Cache);
        if is_memory {
            // Remembered from before a connection was lost: nothing that is known now.
            return;
        }
        state.online(at, ids, out).observe(
            now,
            &Value::from(device.online()),
            Source::Read,
            false,
            out,
        );
        for point in device.points() {
            if is_too_long(&point.value) {
                self.told_of_length = tell_of_length(self.told_of_length, at, point.code.as_str());
                continue;
            }
            let tracked = state.point(at, &point.code, &point.value, ids, out);
            if device.online() {
                let (time, source) = since(point, tracked, now);
                tracked.observe(time, &point.value, source, false, out);
            } else {
                // What its gateway remembers counts from when it is back.
                tracked.held = Some(point.value.clone());
            }
        }
        if !device.online() {
            state.end_points(now, out);
        }
    }

    fn event(&mut self, gateway: &str, event: &Event, at: i64, out: &mut Batch) {
        match &event.kind {
            EventKind::StateChanged { device, readings } => {
                let device = DeviceRef::new(gateway, device.clone());
                self.readings(&device, readings, at, out);
            }
            EventKind::OnlineUpdated {
                device,
                online,
                readings,
            } => {
                let device = DeviceRef::new(gateway, device.clone());
                let (ids, state) = self.state.device(&device);
                state.is_online = *online;
                state.online(&device, ids, out).observe(
                    at,
                    &Value::from(*online),
                    Source::Event,
                    false,
                    out,
                );
                if !*online {
                    return state.end_points(at, out);
                }
                self.readings(&device, readings.as_deref().unwrap_or_default(), at, out);
                let (_, state) = self.state.device(&device);
                state.resume(at, out);
            }
            EventKind::RegistryUpdated { .. } | EventKind::Other { .. } => {}
        }
    }

    fn readings(&mut self, device: &DeviceRef, readings: &[Reading], at: i64, out: &mut Batch) {
        let (ids, state) = self.state.device(device);
        for Reading { code, value } in readings {
            if is_too_long(value) {
                self.told_of_length = tell_of_length(self.told_of_length, device, code.as_str());
                continue;
            }
            let is_press = state.is_press(code.as_str(), value);
            state.point(device, code, value, ids, out).observe(
                at,
                value,
                Source::Event,
                is_press,
                out,
            );
        }
    }
}

/// Returns since when a value that was found by reading holds, as far as that is known.
fn since(point: &Point, tracked: &Tracked, now: i64) -> (i64, Source) {
    let changed = point.changed.0;
    // After a backlog was dropped the device still knows when an event changed it.
    if point.confirmed.source == Source::Event && changed > tracked.at && changed <= now {
        return (changed, Source::Event);
    }
    (now, point.confirmed.source)
}

fn is_too_long(value: &Value) -> bool {
    value.as_i64().is_none() && value.json().len() > LONGEST_VALUE
}

fn tell_of_length(told: bool, device: &DeviceRef, code: &str) -> bool {
    if !told {
        tracing::warn!(
            "device {device}: a value of `{code}` is longer than {LONGEST_VALUE} bytes: \
             such values are not kept in the history"
        );
    }
    true
}

impl DeviceState {
    /// Tells whether an equal value is an event of its own; see the head of this file.
    fn is_press(&self, code: &str, value: &Value) -> bool {
        let Some(schema) = &self.schema else {
            return value.as_string().is_some();
        };
        if schema.function(code).is_some() {
            return false;
        }
        match schema.reading(code).map(|point| point.spec()) {
            Some(Spec::Boolean | Spec::Integer(_) | Spec::Bitmap { .. }) => false,
            Some(_) => true,
            None => value.as_string().is_some(),
        }
    }
}

impl GatewayState {
    /// Ends all series of its devices when the link was lost.
    fn end(&mut self, out: &mut Batch) {
        let Some(at) = self.down_at else { return };
        for device in self.devices.values_mut() {
            device.end(at, out);
        }
    }

    /// All that is known is the gateway's state: whatever is in reach goes on.
    fn resume(&mut self, now: i64, out: &mut Batch) {
        for device in self.devices.values_mut() {
            match device.seen {
                Seen::Yes => device.resume(now, out),
                Seen::No => device.end(now, out),
            }
        }
    }
}

impl Tracked {
    /// Takes a value over, and writes it where it is a change.
    fn observe(&mut self, at: i64, value: &Value, source: Source, is_press: bool, out: &mut Batch) {
        let is_same = self.is_open && self.held.as_ref() == Some(value);
        if is_same && !is_press {
            return;
        }
        if !is_same {
            self.held = Some(value.clone());
        }
        self.is_open = true;
        self.write(at, Some(value.clone()), source, is_same, out);
    }

    /// Nothing is known from here on.
    fn end(&mut self, at: i64, out: &mut Batch) {
        if std::mem::take(&mut self.is_open) {
            self.write(at.max(self.at), None, Source::Read, false, out);
        }
    }

    /// The last known value holds again.
    fn begin_again(&mut self, at: i64, out: &mut Batch) {
        if !self.is_open
            && let Some(held) = self.held.clone()
        {
            self.is_open = true;
            self.write(at, Some(held), Source::Read, false, out);
        }
    }

    fn write(
        &mut self,
        at: i64,
        value: Option<Value>,
        source: Source,
        repeated: bool,
        out: &mut Batch,
    ) {
        let at = if at < self.at && self.at.saturating_sub(at) <= JUMP {
            self.at
        } else {
            at
        };
        self.at = at;
        out.rows.push_back(Row {
            series: self.id,
            at: Timestamp(at),
            is_number: self.row.is_number,
            value,
            source,
            repeated,
        });
    }
}

#[cfg(test)]
mod tests;
