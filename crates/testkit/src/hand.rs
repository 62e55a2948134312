//! A driver that does what a test tells it.

use std::pin::Pin;
use std::sync::Arc;

use hearthgate_gateway::{Command, Driver, DriverPort, Reports};
use hearthgate_protocol::model::{Change, Device, DeviceId, Reading};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

/// Steps of a test that may wait for the driver; a test that is faster waits.
const STEPS_WAITING: usize = 256;

/// A command that came: the device and the values.
pub type Written = (DeviceId, Vec<Reading>);

/// What the driver does with commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Reports the written values, then says that it took them.
    Obey,
    /// Never answers.
    Ignore,
}

/// The test's end: moves the devices and sees the commands.
#[derive(Clone, Debug)]
pub struct Hand {
    steps: mpsc::Sender<Vec<Change>>,
    commands: Arc<Mutex<Vec<Written>>>,
    policy: watch::Sender<Policy>,
}

impl Hand {
    /// Reports changes, as a device would.
    pub async fn report(&self, changes: Vec<Change>) {
        // A gateway that has ended hears nothing; the test sees that at the client.
        let _ = self.steps.send(changes).await;
    }

    /// Returns the commands that came so far.
    pub fn commands(&self) -> Vec<Written> {
        self.commands.lock().clone()
    }

    /// Sets what becomes of further commands.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.send_replace(policy);
    }
}

/// The gateway's end.
#[derive(Debug)]
pub struct HandDriver {
    devices: Vec<Device>,
    steps: mpsc::Receiver<Vec<Change>>,
    commands: Arc<Mutex<Vec<Written>>>,
    policy: watch::Receiver<Policy>,
}

impl HandDriver {
    /// Makes a driver that begins with some devices, and the hand that moves it.
    pub fn new(devices: Vec<Device>) -> (Self, Hand) {
        let (sender, steps) = mpsc::channel(STEPS_WAITING);
        let (set_policy, policy) = watch::channel(Policy::Obey);
        let commands = Arc::default();
        let hand = Hand {
            steps: sender,
            commands: Arc::clone(&commands),
            policy: set_policy,
        };
        (
            Self {
                devices,
                steps,
                commands,
                policy,
            },
            hand,
        )
    }

    async fn obey(&self, reports: &Reports, command: Command) {
        let Command {
            device,
            readings,
            ack,
        } = command;
        self.commands
            .lock()
            .push((device.clone(), readings.clone()));
        let policy = *self.policy.borrow();
        match policy {
            Policy::Obey => {
                reports
                    .send_and_succeed(vec![Change::State { device, readings }], ack)
                    .await;
            }
            // Kept until the requester has given up: a dropped answer would be an answer.
            Policy::Ignore => {
                tokio::spawn(async move {
                    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
                    drop(ack);
                });
            }
        }
    }
}

impl Driver for HandDriver {
    fn name(&self) -> &str {
        "hand"
    }

    fn devices(&self) -> Vec<Device> {
        self.devices.clone()
    }

    fn run(mut self: Box<Self>, mut port: DriverPort) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            loop {
                tokio::select! {
                    () = port.stop.cancelled() => return,
                    Some(changes) = self.steps.recv() => port.reports.send(changes).await,
                    Some(command) = port.commands.recv() => self.obey(&port.reports, command).await,
                    else => return,
                }
            }
        })
    }
}
