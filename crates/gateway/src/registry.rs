//! The one owner of the home's state: applies what drivers report, numbers the events, answers reads,
//! checks writes.
//!
//! State and event log change together under one lock, so that a session that reads a status and the
//! events before it gets them as one ordered stream (section 6): never an answer that an older event
//! overtakes.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hearthgate_protocol::limits::{ANSWER_MAX, ANSWER_TIMEOUT};
use hearthgate_protocol::model::{
    Applied, Change, Device, DeviceId, Home, Reading, Refusal, Source, Stamp, Timestamp,
    check_write,
};
use hearthgate_protocol::wire::{
    DeviceWrite, ErrorBody, ErrorCode, ErrorDetail, EventKind, Request, write_error,
    write_result_devices, write_result_schemas, write_result_statuses,
};
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use crate::driver::{
    Ack, COMMANDS_WAITING, Command, CommandFault, Driver, DriverId, DriverPort, REPORTS_WAITING,
    Report, Reports,
};
use crate::event_log::{Batch, BatchWriter, EventLog, Position};

/// Reports that become one batch at most, so that the lock is held shortly.
const REPORTS_PER_BATCH: usize = 256;

/// Why a gateway's drivers cannot start together.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two drivers serve the same device id.
    #[error("device {device} is served by both {first} and {second}: remove it from one of them")]
    DoubleDevice {
        /// The id.
        device: DeviceId,
        /// One driver.
        first: String,
        /// The other.
        second: String,
    },
}

/// The devices of a gateway. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    /// Tells sessions the end of the log.
    end: watch::Sender<Position>,
    /// By driver: its name and where its commands go.
    drivers: Vec<(String, mpsc::Sender<Command>)>,
    strict_step: bool,
}

#[derive(Debug)]
struct State {
    home: Home,
    log: EventLog,
    owners: HashMap<DeviceId, DriverId>,
}

/// The future of a write that was handed to its drivers.
pub(crate) type PendingWrite = Pin<Box<dyn Future<Output = Result<(), ErrorBody>> + Send>>;

impl Registry {
    /// Makes the registry of some drivers and gives back what runs: the futures of the registry and of
    /// its drivers, to be spawned. They end after `stop`.
    ///
    /// # Errors
    /// Where two drivers serve the same device.
    pub(crate) fn start(
        drivers: Vec<Box<dyn Driver>>,
        strict_step: bool,
        stop: &tokio_util::sync::CancellationToken,
    ) -> Result<(Self, Vec<Pin<Box<dyn Future<Output = ()> + Send>>>), StartError> {
        let mut owners = HashMap::new();
        let mut devices = Vec::new();
        for (index, driver) in drivers.iter().enumerate() {
            for device in driver.devices() {
                let known = owners.insert(device.id().clone(), DriverId(index));
                if let Some(DriverId(first)) = known.filter(|first| *first != DriverId(index)) {
                    let first = drivers.get(first).map_or("another driver", |first| first.name());
                    return Err(StartError::DoubleDevice {
                        device: device.id().clone(),
                        first: first.to_owned(),
                        second: driver.name().to_owned(),
                    });
                }
                devices.push(device);
            }
        }
        let (reports, incoming) = mpsc::channel(REPORTS_WAITING);
        let mut senders = Vec::new();
        let mut running: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
        for (index, driver) in drivers.into_iter().enumerate() {
            let (sender, commands) = mpsc::channel(COMMANDS_WAITING);
            senders.push((driver.name().to_owned(), sender));
            let reports = Reports { driver: DriverId(index), sender: reports.clone() };
            running.push(driver.run(DriverPort { reports, commands, stop: stop.clone() }));
        }
        let state =
            State { home: devices.into_iter().collect(), log: EventLog::default(), owners };
        let (end, _) = watch::channel(state.log.end());
        let shared = Shared { state: RwLock::new(state), end, drivers: senders, strict_step };
        let registry = Self { shared: Arc::new(shared) };
        running.push(Box::pin(registry.clone().run(incoming)));
        Ok((registry, running))
    }

    /// Returns how many devices there are.
    pub fn device_count(&self) -> usize {
        self.shared.state.read().home.len()
    }

    /// Returns the end of the event log and a way to hear of further ends.
    pub(crate) fn join(&self) -> (Position, watch::Receiver<Position>) {
        let end = self.shared.end.subscribe();
        (self.shared.state.read().log.end(), end)
    }

    /// Returns the events since a position, and the new one; `None` where they are forgotten.
    pub(crate) fn events_since(&self, position: Position) -> Option<(Vec<Arc<Batch>>, Position)> {
        let state = self.shared.state.read();
        Some((state.log.since(position)?, state.log.end()))
    }

    /// Writes the answer to a reading request, and gives the events since a position that come before
    /// it. Both belong to the same instant.
    pub(crate) fn answer(
        &self,
        id: i64,
        request: &Request,
        position: Position,
        out: &mut Vec<u8>,
    ) -> (Option<Vec<Arc<Batch>>>, Position) {
        let state = self.shared.state.read();
        let home = &state.home;
        match request {
            Request::GetDevices => write_result_devices(out, id, home.devices()),
            Request::GetSchema(ids) => match find(home, ids) {
                Ok(devices) => write_result_schemas(out, id, devices),
                Err(error) => write_error(out, id, &error),
            },
            Request::GetStatus(ids) => match find(home, ids) {
                Ok(devices) => write_result_statuses(out, id, devices),
                Err(error) => write_error(out, id, &error),
            },
            Request::SetValue(_) => {}
        }
        let events = state.log.since(position);
        let end = state.log.end();
        drop(state);
        if out.len() > ANSWER_MAX {
            let message = format!(
                "the answer would have {} bytes, the limit is {ANSWER_MAX}: ask for fewer devices",
                out.len()
            );
            out.clear();
            write_error(out, id, &ErrorBody::new(ErrorCode::InvalidRequest, message));
        }
        (events, end)
    }

    /// Checks writes as a whole and hands them to their drivers: all of them or none (section 5).
    ///
    /// # Errors
    /// With all that is wrong; nothing was applied then.
    pub(crate) fn write(&self, writes: &[DeviceWrite]) -> Result<PendingWrite, ErrorBody> {
        let state = self.shared.state.read();
        let faults = self.check(&state.home, writes);
        if let Some(error) = ErrorBody::from_details(faults) {
            return Err(error);
        }
        let mut permits = Vec::new();
        let mut busy = Vec::new();
        for write in writes.iter().filter(|write| !write.readings.is_empty()) {
            let driver = state.owners.get(&write.device);
            let Some((_, sender)) = driver.and_then(|id| self.shared.drivers.get(id.0)) else {
                continue;
            };
            match sender.try_reserve() {
                Ok(permit) => permits.push((permit, write)),
                Err(_) => busy.push(detail(
                    &write.device,
                    None,
                    ErrorCode::Busy,
                    format!("device {} has too many writes waiting: try again", write.device),
                )),
            }
        }
        if let Some(error) = ErrorBody::from_details(busy) {
            return Err(error);
        }
        let mut waiting = Vec::new();
        for (permit, write) in permits {
            let (ack, outcome) = oneshot::channel();
            permit.send(Command {
                device: write.device.clone(),
                readings: last_of_each_code(&write.readings),
                ack: Ack(ack),
            });
            waiting.push((write.device.clone(), outcome));
        }
        Ok(Box::pin(outcomes(waiting)))
    }

    fn check(&self, home: &Home, writes: &[DeviceWrite]) -> Vec<ErrorDetail> {
        let mut faults = Vec::new();
        for DeviceWrite { device: id, readings } in writes {
            let Some(device) = home.device(id.as_str()) else {
                faults.push(unknown(id));
                continue;
            };
            if !device.online() {
                let message = format!("device {id} is offline");
                faults.push(detail(id, None, ErrorCode::DeviceOffline, message));
                continue;
            }
            for Reading { code, value } in readings {
                let checked =
                    check_write(device.schema(), code.as_str(), value, self.shared.strict_step);
                if let Err(refusal) = checked {
                    let kind = match refusal {
                        Refusal::UnsupportedCode(_) => ErrorCode::UnsupportedCode,
                        Refusal::InvalidValue(_) => ErrorCode::InvalidValue,
                    };
                    let message = format!("device {id}: {refusal}");
                    faults.push(detail(id, Some(code), kind, message));
                }
            }
        }
        faults
    }

    /// Applies what drivers report until all of them have ended.
    async fn run(self, mut incoming: mpsc::Receiver<Report>) {
        let mut reports = Vec::new();
        while incoming.recv_many(&mut reports, REPORTS_PER_BATCH).await > 0 {
            let stamp = Stamp { at: now(), source: Source::Event };
            let mut acks = Vec::new();
            let end = {
                let mut state = self.shared.state.write();
                let mut batch = state.log.writer();
                for Report { driver, changes, ack } in reports.drain(..) {
                    for change in changes {
                        self.apply(&mut state, &mut batch, driver, change, stamp);
                    }
                    acks.extend(ack);
                }
                state.log.append(batch)
            };
            for ack in acks {
                ack.succeed();
            }
            self.shared.end.send_if_modified(|known| std::mem::replace(known, end) != end);
        }
    }

    fn apply(
        &self,
        state: &mut State,
        batch: &mut BatchWriter,
        driver: DriverId,
        change: Change,
        stamp: Stamp,
    ) {
        let device = change.device().clone();
        match state.owners.get(&device) {
            Some(owner) if *owner != driver => {
                let name = |id: DriverId| {
                    self.shared.drivers.get(id.0).map_or("a driver", |(name, _)| name.as_str())
                };
                warn!(
                    %device,
                    "{} reports a device that {} serves already: ignored, remove it from one of them",
                    name(driver),
                    name(*owner)
                );
                return;
            }
            _ => {}
        }
        let was_online = state.home.device(device.as_str()).map(Device::online);
        let applied = state.home.apply(&change, stamp);
        match change {
            Change::Upsert(_) => {
                state.owners.insert(device.clone(), driver);
                if applied == Applied::Changed {
                    batch.push(EventKind::RegistryUpdated { device, state: 1 });
                }
            }
            Change::Remove(_) => {
                if state.owners.remove(&device).is_some() {
                    batch.push(EventKind::RegistryUpdated { device, state: 0 });
                }
            }
            Change::Online { online, readings, .. } => match was_online {
                Some(before) if before != online => {
                    // All current values go along when a device comes online (section 6).
                    let readings = state.home.device(device.as_str()).filter(|_| online).map(all);
                    batch.push(EventKind::OnlineUpdated { device, online, readings });
                }
                Some(_) if !readings.is_empty() => {
                    batch.push(EventKind::StateChanged { device, readings });
                }
                _ => {}
            },
            Change::State { readings, .. } => {
                if applied == Applied::UnknownDevice {
                    warn!(%device, "a report of a device that is not registered: ignored");
                } else if !readings.is_empty() {
                    batch.push(EventKind::StateChanged { device, readings });
                }
            }
        }
    }
}

/// Returns the wall clock's time.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn all(device: &Device) -> Vec<Reading> {
    device
        .points()
        .iter()
        .map(|point| Reading { code: point.code.clone(), value: point.value.clone() })
        .collect()
}

/// Finds devices in the order of the request; one unknown fails the whole.
fn find<'a>(home: &'a Home, ids: &[DeviceId]) -> Result<Vec<&'a Device>, ErrorBody> {
    let mut faults = Vec::new();
    let mut devices = Vec::with_capacity(ids.len());
    for id in ids {
        match home.device(id.as_str()) {
            Some(device) => devices.push(device),
            None => faults.push(unknown(id)),
        }
    }
    match ErrorBody::from_details(faults) {
        Some(error) => Err(error),
        None => Ok(devices),
    }
}

fn unknown(id: &DeviceId) -> ErrorDetail {
    detail(id, None, ErrorCode::UnknownDevice, format!("no device {id}"))
}

fn detail(
    device: &DeviceId,
    code_of: Option<&hearthgate_protocol::model::Code>,
    code: ErrorCode,
    message: String,
) -> ErrorDetail {
    ErrorDetail { device: device.clone(), code_of: code_of.cloned(), code, message }
}

/// Of two writes of one data point the last wins (section 5); the order is that of the last ones.
fn last_of_each_code(readings: &[Reading]) -> Vec<Reading> {
    let is_last = |(index, reading): &(usize, &Reading)| {
        !readings.iter().skip(index + 1).any(|later| later.code == reading.code)
    };
    readings.iter().enumerate().filter(is_last).map(|(_, reading)| reading.clone()).collect()
}

/// Waits for the drivers, at most as long as an answer may take.
async fn outcomes(
    waiting: Vec<(DeviceId, oneshot::Receiver<Result<(), CommandFault>>)>,
) -> Result<(), ErrorBody> {
    let deadline = tokio::time::Instant::now() + ANSWER_TIMEOUT;
    let mut faults = Vec::new();
    for (device, outcome) in waiting {
        match tokio::time::timeout_at(deadline, outcome).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(CommandFault { code, message }))) => {
                faults.push(detail(&device, None, code, message));
            }
            Ok(Err(_)) => {
                let message = format!("the driver of device {device} ended");
                faults.push(detail(&device, None, ErrorCode::Internal, message));
            }
            Err(_) => {
                let message =
                    format!("device {device} did not answer within {}s", ANSWER_TIMEOUT.as_secs());
                faults.push(detail(&device, None, ErrorCode::Timeout, message));
            }
        }
    }
    ErrorBody::from_details(faults).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests;
