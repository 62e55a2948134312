//! The one owner of the home's state: applies what drivers report, numbers the events, answers reads,
//! checks writes.
//!
//! State and event log change together under one lock, so that a session that reads a status and the
//! events before it gets them as one ordered stream (section 6): never an answer that an older event
//! overtakes.

mod answers;
mod faults;
mod writes;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hearthgate_protocol::model::{
    Applied, Change, Code, Device, DeviceId, Home, Reading, Source, Stamp, Timestamp,
};
use hearthgate_protocol::wire::{ErrorCode, ErrorDetail, EventKind};
use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub(crate) use self::answers::limit_answer;
pub(crate) use self::writes::PendingWrite;
use crate::driver::{
    COMMANDS_WAITING, Command, Driver, DriverId, DriverPort, REPORTS_WAITING, Report, Reports,
};
use crate::event_log::{BatchWriter, EventLog, Position, Unread};
use crate::fan_out::{FanOut, Lane, Place};

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
    /// Tells the fan-out the end of the log.
    end: watch::Sender<Position>,
    /// The bytes before that end, for sessions, which look at it all the time.
    end_bytes: AtomicU64,
    fan_out: Arc<FanOut>,
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

/// What a gateway runs beside its sessions: a driver, the registry or the fan-out.
pub(crate) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Registry {
    /// Makes the registry of some drivers and gives back what runs: the futures of the registry and of
    /// its drivers, to be spawned. They end after `stop`.
    ///
    /// # Errors
    /// Where two drivers serve the same device.
    pub(crate) fn start(
        drivers: Vec<Box<dyn Driver>>,
        strict_step: bool,
        stop: &CancellationToken,
    ) -> Result<(Self, Vec<Running>), StartError> {
        let mut owners = HashMap::new();
        let mut devices = Vec::new();
        for (index, driver) in drivers.iter().enumerate() {
            for device in driver.devices() {
                let known = owners.insert(device.id().clone(), DriverId(index));
                if let Some(DriverId(first)) = known.filter(|first| *first != DriverId(index)) {
                    let first = drivers
                        .get(first)
                        .map_or("another driver", |first| first.name());
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
        let mut running: Vec<Running> = Vec::new();
        for (index, driver) in drivers.into_iter().enumerate() {
            let (sender, commands) = mpsc::channel(COMMANDS_WAITING);
            senders.push((driver.name().to_owned(), sender));
            let reports = Reports {
                driver: DriverId(index),
                sender: reports.clone(),
            };
            running.push(driver.run(DriverPort {
                reports,
                commands,
                stop: stop.clone(),
            }));
        }
        let state = State {
            home: devices.into_iter().collect(),
            log: EventLog::default(),
            owners,
        };
        let begin = state.log.end();
        let (end, _) = watch::channel(begin);
        let fan_out = Arc::new(FanOut::default());
        let over = CancellationToken::new();
        for task in fan_out.tasks(&end, &over) {
            running.push(Box::pin(task));
        }
        let shared = Shared {
            state: RwLock::new(state),
            end_bytes: AtomicU64::new(begin.bytes),
            end,
            fan_out,
            drivers: senders,
            strict_step,
        };
        let registry = Self {
            shared: Arc::new(shared),
        };
        let run = registry.clone().run(incoming);
        running.push(Box::pin(async move {
            run.await;
            over.cancel();
        }));
        Ok((registry, running))
    }

    /// Returns how many devices there are.
    pub fn device_count(&self) -> usize {
        self.shared.state.read().home.len()
    }

    /// Looks at all devices at one moment. Keep it short: reports and answers wait meanwhile.
    pub fn read<R>(&self, look: impl FnOnce(&Home) -> R) -> R {
        look(&self.shared.state.read().home)
    }

    /// Returns how many bytes of events are kept for sessions that have not read them.
    pub fn log_bytes(&self) -> u64 {
        self.shared.state.read().log.kept()
    }

    /// Returns the end of the event log: where a new session begins.
    pub(crate) fn join(&self) -> Position {
        self.shared.state.read().log.end()
    }

    /// Returns the bytes before the end of the event log as it was last told to everybody; the log may be
    /// ahead of it.
    pub(crate) fn end(&self) -> u64 {
        self.shared.end_bytes.load(Ordering::Acquire)
    }

    /// Lets a session have what happens from now on.
    pub(crate) fn enter(&self, lane: Arc<dyn Lane>) -> Place {
        self.shared.fan_out.enter(lane)
    }

    /// Returns a way to hear of further ends.
    #[cfg(test)]
    pub(crate) fn ends(&self) -> watch::Receiver<Position> {
        self.shared.end.subscribe()
    }

    /// Returns events since a position, as many as make `enough` bytes; `None` where they are
    /// forgotten.
    pub(crate) fn events_since(&self, position: Position, enough: u64) -> Option<Unread> {
        self.shared.state.read().log.since(position, enough)
    }

    /// Applies what drivers report until all of them have ended.
    async fn run(self, mut incoming: mpsc::Receiver<Report>) {
        let mut reports = Vec::new();
        while incoming.recv_many(&mut reports, REPORTS_PER_BATCH).await > 0 {
            let stamp = Stamp {
                at: now(),
                source: Source::Event,
            };
            let mut acks = Vec::new();
            let end = {
                let mut state = self.shared.state.write();
                let mut batch = state.log.writer();
                for Report {
                    driver,
                    changes,
                    ack,
                } in reports.drain(..)
                {
                    for change in changes {
                        self.apply(&mut state, &mut batch, driver, change, stamp);
                        if batch.is_full() {
                            state.log.append(batch);
                            batch = state.log.writer();
                        }
                    }
                    acks.extend(ack);
                }
                state.log.append(batch)
            };
            for ack in acks {
                ack.succeed();
            }
            // Before the fan-out hears of it: it looks here.
            self.shared.end_bytes.store(end.bytes, Ordering::Release);
            self.shared
                .end
                .send_if_modified(|known| std::mem::replace(known, end) != end);
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
                    self.shared
                        .drivers
                        .get(id.0)
                        .map_or("a driver", |(name, _)| name.as_str())
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
            Change::Online {
                online, readings, ..
            } => match was_online {
                Some(before) if before != online => {
                    // All current values go along when a device comes online (section 6), and
                    // whatever else is new, so that clients never miss a value.
                    let readings = match state.home.device(device.as_str()) {
                        Some(device) if online => Some(all(device)),
                        _ => Some(readings).filter(|readings| !readings.is_empty()),
                    };
                    batch.push(EventKind::OnlineUpdated {
                        device,
                        online,
                        readings,
                    });
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
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn all(device: &Device) -> Vec<Reading> {
    device
        .points()
        .iter()
        .map(|point| Reading {
            code: point.code.clone(),
            value: point.value.clone(),
        })
        .collect()
}

fn unknown(id: &DeviceId) -> ErrorDetail {
    detail(
        id,
        None,
        ErrorCode::UnknownDevice,
        format!("no device {id}"),
    )
}

fn detail(
    device: &DeviceId,
    code_of: Option<&Code>,
    code: ErrorCode,
    message: String,
) -> ErrorDetail {
    ErrorDetail {
        device: device.clone(),
        code_of: code_of.cloned(),
        code,
        message,
    }
}

#[cfg(test)]
mod tests;
