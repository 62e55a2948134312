//! One round of reading: device list, then schemas, then statuses, staged until all of it is there.
//!
//! Driven by `sync`; requests are sliced and a few are under way at a time. What a gateway refuses
//! costs no more than the device it is about.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearthgate_protocol::limits::DEVICES_PER_REQUEST;
use hearthgate_protocol::model::{
    Change, Device, DeviceId, Home, Schema, Source, Stamp, Timestamp, Update,
};
use hearthgate_protocol::wire::{
    RemoteError, Request, ShapeError, StatusEntry, parse_devices, parse_schemas, parse_statuses,
};

use super::kinds::Kinds;
use super::{Scope, SyncFault};
use crate::mirror::Commit;

/// Slices under way at a time: enough to hide the way there and back, few enough that a gateway
/// still serves others.
const UNDER_WAY: usize = 4;
/// How often a request that gets no answer is sent in all.
const ATTEMPTS: u32 = 2;
/// How often in a round the list is read again because a device in it is unknown all of a sudden;
/// after that the slices are split.
const RELISTS: u32 = 3;
/// Devices that the gateway may refuse before it has answered for any: then it is no device's fault.
const HOPELESS: usize = 100;

/// How a round stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Going,
    Done,
    Failed(SyncFault),
}

#[derive(Debug)]
pub(super) struct Round {
    scope: Scope,
    timeout: Duration,
    phase: What,
    /// The devices of the gateway, in its order.
    list: Vec<DeviceId>,
    schemas: HashMap<DeviceId, Arc<Schema>>,
    kinds: Kinds,
    /// The devices whose status was read.
    staged: Home,
    /// What is to be asked in this phase; bounded by the list.
    queue: VecDeque<Slice>,
    /// Slices that wait for the list to be read again.
    held: Vec<Slice>,
    under_way: HashMap<i64, Asked>,
    relists: u32,
    /// Devices that came up when the list was read again: for the next round.
    newcomers: Vec<DeviceId>,
    /// Whether the gateway has answered for any device.
    any_read: bool,
    /// How many devices the gateway does not answer for, and why not for the first.
    skipped: usize,
    first_skipped: Option<SyncFault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    List,
    Schemas,
    Statuses,
}

#[derive(Debug)]
struct Slice {
    what: What,
    devices: Vec<DeviceId>,
    /// How often it was sent without an answer.
    attempts: u32,
}

#[derive(Debug)]
struct Asked {
    slice: Slice,
    deadline: Instant,
}

/// What is wrong with an answer.
enum Trouble {
    Refused(RemoteError),
    Shape(ShapeError),
}

impl Round {
    pub(super) fn new(scope: Scope, timeout: Duration) -> Self {
        Self {
            scope,
            timeout,
            phase: What::List,
            list: Vec::new(),
            schemas: HashMap::new(),
            kinds: Kinds::default(),
            staged: Home::default(),
            queue: VecDeque::from([Slice::new(What::List, &[])]),
            held: Vec::new(),
            under_way: HashMap::new(),
            relists: 0,
            newcomers: Vec::new(),
            any_read: false,
            skipped: 0,
            first_skipped: None,
        }
    }

    pub(super) fn next_request(&mut self, id: i64, now: Instant) -> Option<Request> {
        if self.under_way.len() >= UNDER_WAY {
            return None;
        }
        let slice = self.queue.pop_front()?;
        let request = match slice.what {
            What::List => Request::GetDevices,
            What::Schemas => Request::GetSchema(slice.devices.clone()),
            What::Statuses => Request::GetStatus(slice.devices.clone()),
        };
        let deadline = now + self.timeout;
        self.under_way.insert(id, Asked { slice, deadline });
        Some(request)
    }

    pub(super) fn owns(&self, id: i64) -> bool {
        self.under_way.contains_key(&id)
    }

    /// Tells whether this round was begun for some devices or for a gap, not for everything.
    pub(super) fn is_partial(&self) -> bool {
        !self.scope.everything
    }

    pub(super) fn handle_answer(
        &mut self,
        id: i64,
        outcome: Result<String, RemoteError>,
        mirror: &Home,
        at: Timestamp,
    ) -> Progress {
        let Some(Asked { slice, .. }) = self.under_way.remove(&id) else {
            return Progress::Going;
        };
        let read = match outcome {
            Ok(result) => self
                .read(&slice, &result, mirror, at)
                .map_err(Trouble::Shape),
            Err(error) => Err(Trouble::Refused(error)),
        };
        if let Err(trouble) = read
            && let Err(fault) = self.get_over(slice, &trouble)
        {
            return Progress::Failed(fault);
        }
        self.advance(mirror)
    }

    /// Applies an event to a device whose status was read already.
    pub(super) fn update(&mut self, update: Update<'_>, stamp: Stamp) {
        self.staged.update(update, stamp);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Progress {
        let late: Vec<i64> = self
            .under_way
            .iter()
            .filter(|(_, asked)| asked.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let Some(Asked { mut slice, .. }) = self.under_way.remove(&id) else {
                continue;
            };
            slice.attempts += 1;
            if slice.attempts >= ATTEMPTS {
                return Progress::Failed(SyncFault::Timeout {
                    request: slice.what.name(),
                });
            }
            self.queue.push_front(slice);
        }
        Progress::Going
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.under_way.values().map(|asked| asked.deadline).min()
    }

    /// Gives what was read, and the devices that came up meanwhile.
    pub(super) fn finish(self, mirror: &Home) -> (Commit, Vec<DeviceId>) {
        let listed: HashSet<&DeviceId> = self.list.iter().collect();
        let gone = mirror
            .devices()
            .map(Device::id)
            .filter(|id| !listed.contains(id))
            .cloned()
            .collect();
        if self.skipped > 1 {
            let devices = self.skipped;
            tracing::warn!(devices, "the gateway does not answer for several devices");
        }
        let read = self
            .list
            .iter()
            .filter_map(|id| self.staged.device(id.as_str()).cloned())
            .collect();
        (Commit { gone, read }, self.newcomers)
    }

    pub(super) fn into_scope(self) -> Scope {
        self.scope
    }

    fn read(
        &mut self,
        slice: &Slice,
        result: &str,
        mirror: &Home,
        at: Timestamp,
    ) -> Result<(), ShapeError> {
        match slice.what {
            What::List => self.listed(parse_devices(result)?),
            What::Schemas => {
                let mut open = slice.open();
                for entry in parse_schemas(result)? {
                    if open.remove(&entry.device) {
                        self.any_read = true;
                        let known = mirror.device(entry.device.as_str()).map(Device::schema);
                        let schema = self.kinds.share(entry.schema, known);
                        self.schemas.insert(entry.device, schema);
                    }
                }
                slice.report_open(&open);
            }
            What::Statuses => {
                let mut open = slice.open();
                for entry in parse_statuses(result)? {
                    if open.remove(&entry.device) {
                        self.stage(entry, mirror, at);
                    }
                }
                slice.report_open(&open);
            }
        }
        Ok(())
    }

    fn listed(&mut self, devices: Vec<DeviceId>) {
        let mut seen = HashSet::with_capacity(devices.len());
        if self.phase == What::List {
            self.list = devices;
            self.list.retain(|id| seen.insert(id.clone()));
            return;
        }
        // Read again: what is gone is dropped everywhere, what is new comes with the next round.
        let known: HashSet<&DeviceId> = self.list.iter().collect();
        for id in devices {
            if !known.contains(&id) && !seen.contains(&id) {
                self.newcomers.push(id.clone());
            }
            seen.insert(id);
        }
        self.list.retain(|id| seen.contains(id));
        self.queue.extend(self.held.drain(..));
        for slice in &mut self.queue {
            slice.devices.retain(|id| seen.contains(id));
        }
        self.queue
            .retain(|slice| slice.what == What::List || !slice.devices.is_empty());
    }

    /// Puts a status on top of what is known of the device, so that a value that is still the same
    /// keeps the time of its last change.
    fn stage(&mut self, entry: StatusEntry, mirror: &Home, at: Timestamp) {
        let StatusEntry {
            device: id,
            online,
            readings,
        } = entry;
        let known = mirror.device(id.as_str());
        let schema = self.schemas.get(&id).or(known.map(Device::schema));
        let Some(schema) = schema.cloned() else {
            return;
        };
        let stamp = Stamp {
            at,
            source: Source::Read,
        };
        // Only where nothing would be left over of a value that the gateway does not report any more.
        let base = known.filter(|known| {
            let reported: HashSet<&str> = readings
                .iter()
                .map(|reading| reading.code.as_str())
                .collect();
            *known.schema() == schema
                && known
                    .points()
                    .iter()
                    .all(|point| reported.contains(point.code.as_str()))
        });
        let base = match base {
            Some(known) => known.clone(),
            None => Device::new(id.clone(), schema, online, [], stamp),
        };
        self.staged.apply(&Change::Upsert(base), stamp);
        let update = Update {
            device: &id,
            online: Some(online),
            readings: &readings,
        };
        self.staged.update(update, stamp);
    }

    /// Finds a way round an answer that is of no use; fails where it is the list.
    fn get_over(&mut self, mut slice: Slice, trouble: &Trouble) -> Result<(), SyncFault> {
        let fault = || match trouble {
            Trouble::Refused(error) => SyncFault::Refused(error.clone()),
            Trouble::Shape(error) => SyncFault::BadAnswer {
                request: slice.what.name(),
                problem: error.to_string(),
            },
        };
        if slice.what == What::List {
            return Err(fault());
        }
        let is_list = |slice: &Slice| slice.what == What::List;
        let relisting = self.queue.iter().any(is_list)
            || self.under_way.values().any(|asked| is_list(&asked.slice));
        let unknown = matches!(trouble, Trouble::Refused(error) if error.code == "unknown_device");
        if unknown && (relisting || self.relists < RELISTS) {
            self.held.push(slice);
            if !relisting {
                self.relists += 1;
                self.queue.push_front(Slice::new(What::List, &[]));
            }
        } else if slice.devices.len() > 1 {
            let rest = slice.devices.split_off(slice.devices.len() / 2);
            self.queue.push_front(Slice::new(slice.what, &rest));
            self.queue
                .push_front(Slice::new(slice.what, &slice.devices));
        } else {
            let fault = fault();
            self.skipped += 1;
            if self.skipped == 1 {
                let device = slice.devices.first().map_or("?", DeviceId::as_str);
                let request = slice.what.name();
                tracing::warn!(device, request, %fault, "the gateway does not answer for a device");
            }
            if self.skipped >= HOPELESS && !self.any_read {
                return Err(fault);
            }
            self.first_skipped.get_or_insert(fault);
        }
        Ok(())
    }

    /// Goes on to the next phase when this one has nothing more to ask.
    fn advance(&mut self, mirror: &Home) -> Progress {
        while self.queue.is_empty() && self.held.is_empty() && self.under_way.is_empty() {
            let scope = &self.scope;
            let stale =
                |id: &DeviceId| scope.devices.contains(id) || mirror.device(id.as_str()).is_none();
            let (next, devices): (What, Vec<&DeviceId>) = match self.phase {
                What::List => {
                    let need = |id: &&DeviceId| scope.everything || stale(id);
                    (What::Schemas, self.list.iter().filter(need).collect())
                }
                What::Schemas => {
                    let need = |id: &&DeviceId| scope.everything || scope.statuses || stale(id);
                    (What::Statuses, self.list.iter().filter(need).collect())
                }
                What::Statuses => {
                    return match self.first_skipped.take() {
                        Some(fault) if self.scope.everything && !self.any_read => {
                            Progress::Failed(fault)
                        }
                        _ => Progress::Done,
                    };
                }
            };
            let devices: Vec<DeviceId> = devices.into_iter().cloned().collect();
            self.queue = devices
                .chunks(DEVICES_PER_REQUEST)
                .map(|slice| Slice::new(next, slice))
                .collect();
            self.phase = next;
        }
        Progress::Going
    }
}

impl Slice {
    fn new(what: What, devices: &[DeviceId]) -> Self {
        Self {
            what,
            devices: devices.to_vec(),
            attempts: 0,
        }
    }

    /// Returns the devices that are to be answered for.
    fn open(&self) -> HashSet<DeviceId> {
        self.devices.iter().cloned().collect()
    }

    fn report_open(&self, open: &HashSet<DeviceId>) {
        if !open.is_empty() {
            tracing::warn!(
                devices = ?open,
                request = self.what.name(),
                "the answer leaves out devices that were asked for"
            );
        }
    }
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::List => "get_devices",
            Self::Schemas => "get_schema",
            Self::Statuses => "get_status",
        }
    }
}
