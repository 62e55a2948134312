//! Plays back what `hearthgate record` wrote: the devices as they were, and each of their events again,
//! in the same order and at the same distances in time, or faster.
//!
//! Input: a folder with profiles and a [`transcript`], or the transcript in it. Output: reports, like any
//! other driver's. What clients write is taken as virtual devices take it and not remembered; an event of
//! the recording that follows wins.

mod transcript;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hearthgate_protocol::model::{Change, Device, DeviceId, Home, Reading, Schema, Source, Stamp};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::transcript::{Event, Transcript};
use crate::driver::{Command, CommandFault, Driver, DriverPort};
use crate::registry::now;
use crate::virtual_home::{ProfilesError, VirtualHome};

/// The pause before a recording begins again, so that an empty one does not spin.
const PAUSE: Duration = Duration::from_secs(1);

/// How to play.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReplayOptions {
    /// How many times as fast as it was recorded; more than 0.
    pub speed: f64,
    /// Whether it begins again after its end, with the devices as they were at first. Otherwise they
    /// stay as the last event left them.
    pub repeat: bool,
}

impl Default for ReplayOptions {
    /// As fast as it was recorded, once.
    fn default() -> Self {
        Self {
            speed: 1.0,
            repeat: false,
        }
    }
}

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The transcript cannot be read.
    #[error("cannot read {}: {source}; --replay takes a folder that `hearthgate record` wrote", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("{} is no transcript of `hearthgate record`: {problem}", path.display())]
    NoTranscript {
        /// Which file.
        path: PathBuf,
        /// What it lacks.
        problem: String,
    },
    /// A line of it is broken.
    #[error("{}: line {line}: {problem}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The profiles beside it cannot be used.
    #[error(transparent)]
    Profiles(#[from] ProfilesError),
    /// There are no profiles beside it.
    #[error("{} holds no device profiles (*.json) beside the transcript: record again, or bring them back", .0.display())]
    NoProfiles(PathBuf),
}

/// A driver for the devices of a recording.
#[derive(Debug)]
pub struct Replay {
    path: PathBuf,
    options: ReplayOptions,
    initial: Vec<Device>,
    /// What the devices are now.
    home: Home,
    /// What devices were when they were added or changed, in that order, where the recording tells.
    described: HashMap<DeviceId, VecDeque<Device>>,
    /// Events of the recording, and when the last one came.
    events: u64,
    length: Duration,
    /// Playing begins when this is cancelled.
    begin: CancellationToken,
}

impl Replay {
    /// Reads the recording in a folder, or a transcript with profiles beside it, once, to find out
    /// whether it can be played. A last line that is not complete is passed over: who records may be
    /// interrupted.
    ///
    /// # Errors
    /// Where there are no profiles or something is broken; names file and line.
    pub fn load(path: &Path, options: ReplayOptions) -> Result<Self, ReplayError> {
        let transcript = match path.is_dir() {
            true => path.join(transcript::NAME),
            false => path.to_owned(),
        };
        let scan = transcript::scan(&transcript)?;
        let folder = match transcript.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let initial = VirtualHome::load(std::slice::from_ref(&folder))?.devices();
        if initial.is_empty() {
            return Err(ReplayError::NoProfiles(folder));
        }
        Ok(Self {
            path: transcript,
            options,
            home: initial.iter().cloned().collect(),
            initial,
            described: scan.described,
            events: scan.events,
            length: scan.length,
            begin: CancellationToken::new(),
        })
    }

    /// Returns what lets it begin, once it is cancelled: whoever is to see all of it has time to
    /// connect.
    pub fn begin_token(&self) -> CancellationToken {
        self.begin.clone()
    }

    /// Returns how many events there are, and how long playing them takes at this speed.
    pub fn extent(&self) -> (u64, Duration) {
        (self.events, self.scaled(self.length))
    }

    fn scaled(&self, time: Duration) -> Duration {
        Duration::try_from_secs_f64(time.as_secs_f64() / self.options.speed)
            .unwrap_or(Duration::MAX)
    }

    async fn run(mut self, mut port: DriverPort) {
        let begin = self.begin.clone();
        if self.serve_until(&mut port, begin.cancelled()).await {
            return;
        }
        loop {
            let started = Instant::now();
            if self.play(&mut port, started).await {
                return;
            }
            if !self.options.repeat {
                info!("the recording is at its end; the devices stay as they are");
                self.serve_until(&mut port, std::future::pending()).await;
                return;
            }
            if self.serve_until(&mut port, tokio::time::sleep(PAUSE)).await {
                return;
            }
            let changes = self.rewind();
            port.reports.send(changes).await;
        }
    }

    /// Plays it once; tells whether the gateway ends.
    async fn play(&mut self, port: &mut DriverPort, started: Instant) -> bool {
        let mut described = self.described.clone();
        let mut transcript = match Transcript::open(&self.path) {
            Ok((transcript, _)) => transcript,
            Err(error) => {
                warn!("{error}; the devices stay as they are");
                return false;
            }
        };
        loop {
            let (events, rest) = match transcript.batch().await {
                Ok(batch) => batch,
                Err(error) => {
                    warn!("{error}; the devices stay as they are");
                    return false;
                }
            };
            transcript = rest;
            if events.is_empty() {
                return false;
            }
            let mut due = Vec::new();
            for Event { at, kind } in events {
                let at = started.checked_add(self.scaled(at));
                // More than a century away is never.
                let Some(at) = at else { continue };
                if at > Instant::now() {
                    port.reports.send(std::mem::take(&mut due)).await;
                    if self.serve_until(port, sleep_until(at)).await {
                        return true;
                    }
                }
                if let Some(change) = self.change(kind, &mut described) {
                    self.home.apply(&change, stamp());
                    due.push(change);
                }
            }
            port.reports.send(due).await;
        }
    }

    /// Carries out what clients write until something happens; tells whether the gateway ends.
    async fn serve_until(
        &mut self,
        port: &mut DriverPort,
        until: impl Future<Output = ()>,
    ) -> bool {
        tokio::pin!(until);
        loop {
            tokio::select! {
                biased;
                () = port.stop.cancelled() => return true,
                () = &mut until => return false,
                command = port.commands.recv() => match command {
                    Some(command) => self.command(command, port).await,
                    None => return true,
                },
            }
        }
    }

    async fn command(&mut self, command: Command, port: &DriverPort) {
        let Command {
            device,
            readings,
            ack,
        } = command;
        // An event may have come after the write was checked.
        let known = match self.home.device(device.as_str()) {
            Some(known) if known.online() => known,
            Some(_) => return ack.fail(CommandFault::offline(&device)),
            None => return ack.fail(CommandFault::unknown(&device)),
        };
        let shown = |reading: &Reading| !known.is_write_only(reading.code.as_str());
        let readings: Vec<Reading> = readings.into_iter().filter(shown).collect();
        if readings.is_empty() {
            return ack.succeed();
        }
        let change = Change::State { device, readings };
        self.home.apply(&change, stamp());
        port.reports.send_and_succeed(vec![change], ack).await;
    }

    /// Returns what an event of the recording does to the devices.
    fn change(
        &self,
        kind: hearthgate_protocol::wire::EventKind,
        described: &mut HashMap<DeviceId, VecDeque<Device>>,
    ) -> Option<Change> {
        use hearthgate_protocol::wire::EventKind;
        match kind {
            EventKind::StateChanged { device, readings } => {
                Some(Change::State { device, readings })
            }
            EventKind::OnlineUpdated {
                device,
                online,
                readings,
            } => Some(Change::Online {
                device,
                online,
                readings: readings.unwrap_or_default(),
            }),
            EventKind::RegistryUpdated { device, state: 0 } => Some(Change::Remove(device)),
            EventKind::RegistryUpdated { device, .. } => {
                let told = described.get_mut(&device).and_then(VecDeque::pop_front);
                let known = || self.home.device(device.as_str()).cloned();
                let first = || self.initial.iter().find(|it| *it.id() == device).cloned();
                // One of which the recording tells nothing declares nothing; its events are told.
                let bare = || {
                    let schema = Schema::new("", Vec::new(), Vec::new());
                    Device::new(device.clone(), Arc::new(schema), true, [], stamp())
                };
                let device = told.or_else(known).or_else(first).unwrap_or_else(bare);
                Some(Change::Upsert(confirmed(&device)))
            }
            EventKind::Other { .. } => None,
        }
    }

    /// Makes the devices what they were at first.
    fn rewind(&mut self) -> Vec<Change> {
        let initial: Home = self.initial.iter().map(confirmed).collect();
        let gone = self
            .home
            .devices()
            .filter(|device| initial.device(device.id().as_str()).is_none())
            .map(|device| Change::Remove(device.id().clone()));
        let back = initial.devices().cloned().map(Change::Upsert);
        let changes = gone.chain(back).collect();
        self.home = initial;
        changes
    }
}

impl Driver for Replay {
    fn name(&self) -> &str {
        "replay"
    }

    fn devices(&self) -> Vec<Device> {
        self.initial.clone()
    }

    fn run(self: Box<Self>, port: DriverPort) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin((*self).run(port))
    }
}

fn stamp() -> Stamp {
    Stamp {
        at: now(),
        source: Source::Event,
    }
}

/// Returns a device whose values are confirmed now. One that is told to be new is told so, also where
/// nothing about it differs.
fn confirmed(device: &Device) -> Device {
    let readings = device
        .points()
        .iter()
        .map(|point| Reading::new(point.code.clone(), point.value.clone()));
    let schema = Arc::clone(device.schema());
    Device::new(
        device.id().clone(),
        schema,
        device.online(),
        readings,
        stamp(),
    )
}

#[cfg(test)]
mod tests;
