//! Lets the simulated home live: gives it time, carries commands in and reports out.

use std::pin::Pin;
use std::time::Duration;

use hearthgate_protocol::model::{Device, Source, Stamp};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::demo::DemoHome;
use crate::driver::{Command, CommandFault, Driver, DriverPort, Reports};
use crate::registry::now;

/// The time between two looks at the simulation.
const TICK: Duration = Duration::from_millis(250);

/// A driver for the simulated home of the demonstration.
pub struct DemoDriver {
    home: DemoHome,
    /// Life begins when this is cancelled.
    begin: CancellationToken,
}

impl DemoDriver {
    /// Makes a home; the same seed makes the same life.
    pub fn new(seed: u64) -> Self {
        let driver = Self::still(seed);
        driver.begin.cancel();
        driver
    }

    /// Makes a home that stands still, but for commands, until its [`DemoDriver::begin_token`] is
    /// cancelled: whoever is to see its life from the first moment on has time to connect.
    pub fn still(seed: u64) -> Self {
        Self {
            home: DemoHome::new(seed),
            begin: CancellationToken::new(),
        }
    }

    /// Returns what lets the home live, once it is cancelled.
    pub fn begin_token(&self) -> CancellationToken {
        self.begin.clone()
    }

    /// Returns id and name of each device.
    pub fn names(&self) -> Vec<(String, String)> {
        let profiles = self.home.profiles().into_iter();
        profiles
            .map(|profile| (profile.device.to_string(), profile.name.unwrap_or_default()))
            .collect()
    }
}

impl DemoDriver {
    async fn command(&mut self, command: Command, reports: &Reports) {
        let Command {
            device,
            readings,
            ack,
        } = command;
        if self.home.is_online(device.as_str()) {
            let changes = self.home.write(device.as_str(), &readings);
            reports.send_and_succeed(changes, ack).await;
        } else {
            // It dropped off after the write was checked.
            ack.fail(CommandFault::offline(&device));
        }
    }
}

impl Driver for DemoDriver {
    fn name(&self) -> &str {
        "simulated home"
    }

    fn devices(&self) -> Vec<Device> {
        let stamp = Stamp {
            at: now(),
            source: Source::Event,
        };
        let profiles = self.home.profiles().into_iter();
        profiles
            .map(|profile| {
                Device::new(
                    profile.device,
                    profile.schema,
                    profile.online,
                    profile.readings,
                    stamp,
                )
            })
            .collect()
    }

    fn run(mut self: Box<Self>, mut port: DriverPort) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let begin = self.begin.clone();
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let tick = async {
                    begin.cancelled().await;
                    ticks.tick().await;
                };
                tokio::select! {
                    () = port.stop.cancelled() => return,
                    () = tick => {
                        let changes = self.home.tick(TICK);
                        if !changes.is_empty() {
                            port.reports.send(changes).await;
                        }
                    }
                    command = port.commands.recv() => match command {
                        Some(command) => self.command(command, &port.reports).await,
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

#[cfg(test)]
mod tests {
    use hearthgate_protocol::model::Change;
    use hearthgate_protocol::wire::ErrorCode;
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::driver::Ack;

    #[tokio::test]
    async fn a_device_that_dropped_off_after_the_check_is_offline() {
        let mut driver = DemoDriver::new(1);
        let gone = loop {
            let changes = driver.home.tick(TICK);
            let offline = changes
                .iter()
                .find(|change| matches!(change, Change::Online { online: false, .. }));
            if let Some(change) = offline {
                break change.device().clone();
            }
        };
        let (sender, mut reported) = mpsc::channel(8);
        let reports = Reports {
            driver: crate::driver::DriverId(0),
            sender,
        };
        let (ack, outcome) = oneshot::channel();
        let command = Command {
            device: gone.clone(),
            readings: Vec::new(),
            ack: Ack(ack),
        };
        driver.command(command, &reports).await;
        let fault = outcome.await.unwrap().unwrap_err();
        assert_eq!(fault.code, ErrorCode::DeviceOffline);
        assert_eq!(fault.message, format!("device {gone} is offline"));
        assert!(reported.try_recv().is_err());
    }
}
