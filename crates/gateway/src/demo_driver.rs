//! Lets the simulated home live: gives it time, carries commands in and reports out.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hearthgate_protocol::model::{Device, Source, Stamp};
use tokio::time::MissedTickBehavior;

use crate::demo::DemoHome;
use crate::driver::{Command, Driver, DriverPort};
use crate::registry::now;

/// The time between two looks at the simulation.
const TICK: Duration = Duration::from_millis(250);

/// A driver for the simulated home of the demonstration.
pub struct DemoDriver {
    home: DemoHome,
}

impl DemoDriver {
    /// Makes a home; the same seed makes the same life.
    pub fn new(seed: u64) -> Self {
        Self { home: DemoHome::new(seed) }
    }

    /// Returns id and name of each device.
    pub fn names(&self) -> Vec<(String, String)> {
        let profiles = self.home.profiles().into_iter();
        profiles
            .map(|profile| (profile.device.to_string(), profile.name.unwrap_or_default()))
            .collect()
    }
}

impl Driver for DemoDriver {
    fn name(&self) -> &str {
        "simulated home"
    }

    fn devices(&self) -> Vec<Device> {
        let stamp = Stamp { at: now(), source: Source::Event };
        let profiles = self.home.profiles().into_iter();
        profiles
            .map(|profile| {
                let schema = Arc::new(profile.schema);
                Device::new(profile.device, schema, profile.online, profile.readings, stamp)
            })
            .collect()
    }

    fn run(mut self: Box<Self>, mut port: DriverPort) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = port.stop.cancelled() => return,
                    _ = ticks.tick() => {
                        let changes = self.home.tick(TICK);
                        if !changes.is_empty() {
                            port.reports.send(changes).await;
                        }
                    }
                    command = port.commands.recv() => match command {
                        Some(Command { device, readings, ack }) => {
                            let changes = self.home.write(device.as_str(), &readings);
                            port.reports.send_and_succeed(changes, ack).await;
                        }
                        None => return,
                    },
                }
            }
        })
    }
}

impl std::fmt::Debug for DemoDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DemoDriver")
    }
}
