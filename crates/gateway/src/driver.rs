//! What stands between the gateway and real or simulated devices.
//!
//! A driver reports what its devices do and takes commands for them, over two bounded channels. Where
//! the reports channel is full the driver waits: the registry only computes and never waits for
//! anybody, so that is short. Where the commands channel is full the device is `busy`, which the
//! requester is told.

use std::future::Future;
use std::pin::Pin;

use hearthgate_protocol::model::{Change, Device, DeviceId, Reading};
use hearthgate_protocol::wire::ErrorCode;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Reports that may wait for the registry.
pub(crate) const REPORTS_WAITING: usize = 1024;
/// Commands that may wait for one driver.
pub(crate) const COMMANDS_WAITING: usize = 4096;

/// Serves some devices.
pub trait Driver: Send + 'static {
    /// Names the driver in logs and errors, such as `virtual home`.
    fn name(&self) -> &str;

    /// Returns the devices that are known before [`Driver::run`].
    fn devices(&self) -> Vec<Device>;

    /// Reports and takes commands until [`DriverPort::stop`].
    fn run(self: Box<Self>, port: DriverPort) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// A driver's ends of the two channels.
#[derive(Debug)]
pub struct DriverPort {
    /// Where it reports.
    pub reports: Reports,
    /// Where commands come in. Those for one device are in the order of arrival.
    pub commands: mpsc::Receiver<Command>,
    /// Tells when to end.
    pub stop: CancellationToken,
}

/// Which of a gateway's drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DriverId(pub(crate) usize);

/// What a driver sends to the registry.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) driver: DriverId,
    pub(crate) changes: Vec<Change>,
    /// An answer to give once the changes are in the registry.
    pub(crate) ack: Option<Ack>,
}

/// Where a driver reports what its devices do.
#[derive(Clone, Debug)]
pub struct Reports {
    pub(crate) driver: DriverId,
    pub(crate) sender: mpsc::Sender<Report>,
}

impl Reports {
    /// Reports changes, in order. Every [`Change::State`] becomes an event, also one of equal values.
    pub async fn send(&self, changes: Vec<Change>) {
        self.forward(changes, None).await;
    }

    /// Reports the effect of a command and says that the device took it, in this order: whoever reads
    /// after the success sees the effect.
    pub async fn send_and_succeed(&self, changes: Vec<Change>, ack: Ack) {
        self.forward(changes, Some(ack)).await;
    }

    async fn forward(&self, changes: Vec<Change>, ack: Option<Ack>) {
        // The registry ends last; if it is gone nobody is left to tell.
        let _ = self
            .sender
            .send(Report {
                driver: self.driver,
                changes,
                ack,
            })
            .await;
    }
}

/// Writes for one device, already checked against its schema (section 5).
#[derive(Debug)]
pub struct Command {
    /// Which device.
    pub device: DeviceId,
    /// The values in order; of two of one code only the last is here.
    pub readings: Vec<Reading>,
    /// Where to say whether the device took them.
    pub ack: Ack,
}

/// The answer to a command. Dropped without an answer it counts as an internal fault.
#[derive(Debug)]
pub struct Ack(pub(crate) oneshot::Sender<Result<(), CommandFault>>);

impl Ack {
    /// Says that the device took the command.
    pub fn succeed(self) {
        // A requester that has gone or given up does not care.
        let _ = self.0.send(Ok(()));
    }

    /// Says that it did not.
    pub fn fail(self, fault: CommandFault) {
        let _ = self.0.send(Err(fault));
    }
}

/// Why a device did not take a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct CommandFault {
    /// `timeout`, `device_offline`, `unknown_device`, `busy` or `internal`.
    pub code: ErrorCode,
    /// For people: names the device and what went wrong.
    pub message: String,
}

impl CommandFault {
    /// Says that a device is out of reach by now.
    pub(crate) fn offline(device: &DeviceId) -> Self {
        Self {
            code: ErrorCode::DeviceOffline,
            message: format!("device {device} is offline"),
        }
    }

    /// Says that a device has gone by now.
    pub(crate) fn unknown(device: &DeviceId) -> Self {
        Self {
            code: ErrorCode::UnknownDevice,
            message: format!("no device {device}"),
        }
    }
}
