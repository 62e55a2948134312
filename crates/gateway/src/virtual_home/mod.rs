//! Devices from profile files: a write changes the value and reports it, an edit of a file shows.
//!
//! Input: commands from the registry, files from [`profiles`] when [`watch`] says that one may have
//! changed. Output: reports.

mod edits;
mod profiles;
mod watch;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use hearthgate_protocol::model::{Change, Device, DeviceId, Home, Reading, Source, Stamp};
use hearthgate_protocol::wire::Profile;
use tracing::warn;

use profiles::ProfileFiles;
pub use profiles::ProfilesError;
use watch::FileWatch;

use crate::driver::{Command, CommandFault, Driver, DriverPort};
use crate::registry::now;

/// A driver for devices that exist only as files.
#[derive(Debug)]
pub struct VirtualHome {
    files: ProfileFiles,
    /// What the devices are now: profiles with writes laid over them.
    home: Home,
}

impl VirtualHome {
    /// Loads profiles from files, and from all `*.json` files in folders.
    ///
    /// # Errors
    /// Names the file, the position and the reason of everything that is broken, and devices that are
    /// in two files.
    pub fn load(paths: &[PathBuf]) -> Result<Self, ProfilesError> {
        let files = ProfileFiles::load(paths)?;
        let home = files.profiles().map(device).collect();
        Ok(Self { files, home })
    }

    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            self.home.apply(change, stamp());
        }
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
        let device = device.clone();
        let changes = vec![Change::State { device, readings }];
        self.apply(&changes);
        Ok(changes)
    }

    /// Reads the files again and tells what changed.
    fn reload(&mut self) -> Vec<Change> {
        let changes = edits::differences(&self.files.reload(), &self.home, stamp());
        self.apply(&changes);
        changes
    }
}

impl Driver for VirtualHome {
    fn name(&self) -> &str {
        "virtual home"
    }

    fn devices(&self) -> Vec<Device> {
        self.home.devices().cloned().collect()
    }

    fn run(mut self: Box<Self>, mut port: DriverPort) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut watch = match FileWatch::start(self.files.folders()) {
                Ok(watch) => Some(watch),
                Err(fault) => {
                    warn!("edits of profiles will not be noticed: {fault}");
                    None
                }
            };
            // What was edited before the watch began.
            port.reports.send(self.reload()).await;
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
                        Some(Command { device, readings, ack }) => {
                            match self.command(&device, readings) {
                                Ok(changes) => port.reports.send_and_succeed(changes, ack).await,
                                Err(fault) => ack.fail(fault),
                            }
                        }
                        None => return,
                    },
                    () = edited => port.reports.send(self.reload()).await,
                }
            }
        })
    }
}

fn stamp() -> Stamp {
    Stamp {
        at: now(),
        source: Source::Cache,
    }
}

fn device(profile: &Profile) -> Device {
    let schema = Arc::new(profile.schema.clone());
    let readings = profile.readings.iter().cloned();
    Device::new(
        profile.device.clone(),
        schema,
        profile.online,
        readings,
        stamp(),
    )
}

#[cfg(test)]
mod tests;
