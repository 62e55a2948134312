//! Devices from profile files: a write changes the value and reports it, an edit of a file shows.
//!
//! Input: commands from the registry, files from [`profiles`] when [`watch`] says that one may have
//! changed. Output: reports, and with a store records for it: what is written outlives the process.

mod edits;
mod memory;
mod profiles;
mod watch;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use hearthgate_protocol::model::{
    Change, Code, Device, DeviceId, Home, Point, Reading, Schema, Source, Stamp,
};
use hearthgate_protocol::wire::Profile;
use tracing::warn;

use edits::Edit;
use memory::Memory;
use profiles::ProfileFiles;
pub use profiles::ProfilesError;
use watch::FileWatch;

use crate::driver::{Command, CommandFault, Driver, DriverPort, Reports};
use crate::registry::now;
use crate::values::writer::{Answer, ValueWriter};
use crate::values::{Record, ValueStore};

/// A driver for devices that exist only as files.
#[derive(Debug)]
pub struct VirtualHome {
    files: ProfileFiles,
    /// What the devices are now: profiles with writes laid over them.
    home: Home,
    /// What outlives the process; nothing does without.
    memory: Option<Memory>,
    /// Of the memory; goes to the thread that writes it when the home runs.
    store: Option<ValueStore>,
}

impl VirtualHome {
    /// Loads profiles from files, and from all `*.json` files in folders.
    ///
    /// # Errors
    /// Names the file, the position and the reason of everything that is broken, and devices that are
    /// in two files.
    pub fn load(paths: &[PathBuf]) -> Result<Self, ProfilesError> {
        let files = ProfileFiles::load(paths)?;
        let home = files
            .profiles()
            .map(|(profile, _)| device(profile))
            .collect();
        Ok(Self {
            files,
            home,
            memory: None,
            store: None,
        })
    }

    /// Remembers values in a store. Those in it win over the profiles', unless a profile was modified
    /// after it was last read into the store.
    pub fn with_values(mut self, mut store: ValueStore) -> Self {
        let mut memory = Memory::new(store.take_known());
        let fresh = std::mem::take(&mut self.home);
        let come = |(profile, times): (&Profile, _)| {
            let fresh = fresh.device(profile.device.as_str()).cloned();
            memory.come(fresh.unwrap_or_else(|| device(profile)), profile, times)
        };
        self.home = self.files.profiles().map(come).collect();
        self.memory = Some(memory);
        self.store = Some(store);
        self
    }

    /// Carries a command out: every reading is reported, except of what is write-only (section 5).
    fn command(
        &mut self,
        device: &DeviceId,
        readings: Vec<Reading>,
    ) -> Result<Vec<Change>, CommandFault> {
        // A file may have been edited after the write was checked.
        let known = match self.home.device(device.as_str()) {
            Some(known) if known.online() => known,
            Some(_) => return Err(CommandFault::offline(device)),
            None => return Err(CommandFault::unknown(device)),
        };
        let readings: Vec<Reading> = readings
            .into_iter()
            .filter(|reading| !known.is_write_only(reading.code.as_str()))
            .collect();
        if readings.is_empty() {
            return Ok(Vec::new());
        }
        let codes: Vec<Code> = readings
            .iter()
            .map(|reading| reading.code.clone())
            .collect();
        let device = device.clone();
        let change = Change::State { device, readings };
        self.home.apply(&change, stamp());
        let written = self.home.device(change.device().as_str());
        if let (Some(memory), Some(device)) = (&mut self.memory, written) {
            memory.written(device, &codes);
        }
        Ok(vec![change])
    }

    /// Reads the files again and tells what changed.
    fn reload(&mut self) -> Vec<Change> {
        let edits = self.files.reload();
        let come = |profile: &Profile, times| match &mut self.memory {
            Some(memory) => memory.come(device(profile), profile, times),
            None => device(profile),
        };
        let changes = edits::differences(&edits, &self.home, stamp(), come);
        for gone in edits.iter().filter_map(Edit::gone) {
            if let (Some(memory), Some(device)) =
                (&mut self.memory, self.home.device(gone.as_str()))
            {
                memory.go(device);
            }
        }
        for change in &changes {
            self.home.apply(change, stamp());
        }
        for (edited, times) in edits.iter().filter_map(Edit::edited) {
            if let (Some(memory), Some(device)) =
                (&mut self.memory, self.home.device(edited.as_str()))
            {
                memory.read(device, times);
            }
        }
        changes
    }

    /// Hands over what is to be stored.
    fn records(&mut self) -> Vec<Record> {
        let memory = self.memory.as_mut();
        memory.map(Memory::take_records).unwrap_or_default()
    }

    async fn run(mut self, mut port: DriverPort) {
        let writer = self.store.take().map(ValueWriter::start);
        self.serve(&mut port, writer.as_ref()).await;
        if let Some(writer) = writer {
            writer.end().await;
        }
    }

    async fn serve(&mut self, port: &mut DriverPort, writer: Option<&ValueWriter>) {
        let mut watch = match FileWatch::start(self.files.folders()) {
            Ok(watch) => Some(watch),
            Err(fault) => {
                warn!("edits of profiles will not be noticed: {fault}");
                None
            }
        };
        // What was edited before the watch began.
        self.show_edits(&port.reports, writer).await;
        loop {
            let edited = async {
                match &mut watch {
                    Some(watch) => watch.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = port.stop.cancelled() => return,
                command = port.commands.recv() => match command {
                    Some(command) => self.carry_out(command, &port.reports, writer).await,
                    None => return,
                },
                () = edited => self.show_edits(&port.reports, writer).await,
            }
        }
    }

    async fn show_edits(&mut self, reports: &Reports, writer: Option<&ValueWriter>) {
        reports.send(self.reload()).await;
        if let Some(writer) = writer {
            writer.keep(self.records(), None).await;
        }
    }

    async fn carry_out(
        &mut self,
        command: Command,
        reports: &Reports,
        writer: Option<&ValueWriter>,
    ) {
        let Command {
            device,
            readings,
            ack,
        } = command;
        let changes = match self.command(&device, readings) {
            Ok(changes) => changes,
            Err(fault) => return ack.fail(fault),
        };
        match writer {
            Some(writer) if !changes.is_empty() => {
                // The event goes out at once, the success when the values are stored.
                let (applied, answer) = Answer::after_both(device, ack);
                reports.send_and_succeed(changes, applied).await;
                writer.keep(self.records(), Some(answer)).await;
            }
            _ => reports.send_and_succeed(changes, ack).await,
        }
    }
}

impl Driver for VirtualHome {
    fn name(&self) -> &str {
        "virtual home"
    }

    fn devices(&self) -> Vec<Device> {
        self.home.devices().cloned().collect()
    }

    fn run(self: Box<Self>, port: DriverPort) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin((*self).run(port))
    }
}

fn stamp() -> Stamp {
    Stamp {
        at: now(),
        source: Source::Cache,
    }
}

/// Makes the device of a profile alone.
fn device(profile: &Profile) -> Device {
    let schema = Arc::clone(&profile.schema);
    let readings = profile.readings.iter().cloned();
    let id = profile.device.clone();
    Device::new(id, schema, profile.online, readings, stamp())
}

/// Makes the device of a profile without any value.
fn bare(profile: &Profile, schema: Arc<Schema>) -> Device {
    Device::new(profile.device.clone(), schema, profile.online, [], stamp())
}

/// Gives a device without values those that are known, each with its own age, and over them readings
/// that are confirmed by `stamp`.
fn bare_with<'a>(
    bare: Device,
    known: impl Iterator<Item = &'a Point>,
    readings: Vec<Reading>,
    stamp: Stamp,
) -> Device {
    let device = bare.id().clone();
    let mut home: Home = [bare.clone()].into_iter().collect();
    for point in known {
        let reading = Reading::new(point.code.clone(), point.value.clone());
        let change = state(&device, vec![reading]);
        // The value is as old as its last change, and what confirmed it since does not change it.
        let changed = Stamp {
            at: point.changed,
            source: point.confirmed.source,
        };
        home.apply(&change, changed);
        home.apply(&change, point.confirmed);
    }
    home.apply(&state(&device, readings), stamp);
    home.device(device.as_str()).cloned().unwrap_or(bare)
}

fn state(device: &DeviceId, readings: Vec<Reading>) -> Change {
    Change::State {
        device: device.clone(),
        readings,
    }
}

#[cfg(test)]
mod tests;
