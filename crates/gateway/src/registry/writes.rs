//! Writes: checked as a whole, handed to the drivers, their outcomes gathered.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;

use hearthgate_protocol::limits::ANSWER_TIMEOUT;
use hearthgate_protocol::model::{DeviceId, Home, Reading, Refusal, check_write};
use hearthgate_protocol::wire::{DeviceWrite, ErrorBody, ErrorCode, ErrorDetail};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::faults::Faults;
use super::{Registry, detail, unknown};
use crate::driver::{Ack, Command, CommandFault};

/// The future of a write that was handed to its drivers.
pub(crate) type PendingWrite = Pin<Box<dyn Future<Output = Result<(), ErrorBody>> + Send>>;
/// Where a driver says whether a device took a write.
type Outcome = oneshot::Receiver<Result<(), CommandFault>>;

impl Registry {
    /// Checks writes as a whole and hands them to their drivers: all of them or none (section 5).
    ///
    /// # Errors
    /// With all that is wrong; nothing was applied then.
    pub(crate) fn write(&self, writes: &[DeviceWrite]) -> Result<PendingWrite, ErrorBody> {
        let state = self.shared.state.read();
        if let Some(error) = self.check(&state.home, writes).into_error() {
            return Err(error);
        }
        let mut permits = Vec::new();
        let mut faults = Faults::default();
        for (device, readings) in by_device(writes) {
            let owner = state.owners.get(device);
            let reserved = match owner.and_then(|id| self.shared.drivers.get(id.0)) {
                Some((_, commands)) => commands.try_reserve().map_err(|error| match error {
                    TrySendError::Full(()) => {
                        let message =
                            format!("device {device} has too many writes waiting: try again");
                        detail(device, None, ErrorCode::Busy, message)
                    }
                    TrySendError::Closed(()) => driver_ended(device),
                }),
                None => Err(driver_ended(device)),
            };
            match reserved {
                Ok(permit) => permits.push((permit, device, readings)),
                Err(fault) => faults.push(|| fault),
            }
        }
        if let Some(error) = faults.into_error() {
            return Err(error);
        }
        let mut waiting = Vec::new();
        for (permit, device, readings) in permits {
            let (ack, outcome) = oneshot::channel();
            permit.send(Command {
                device: device.clone(),
                readings: last_of_each_code(&readings),
                ack: Ack(ack),
            });
            waiting.push((device.clone(), outcome));
        }
        Ok(Box::pin(outcomes(waiting)))
    }

    fn check(&self, home: &Home, writes: &[DeviceWrite]) -> Faults {
        let mut faults = Faults::default();
        for DeviceWrite {
            device: id,
            readings,
        } in writes
        {
            let Some(device) = home.device(id.as_str()) else {
                faults.push(|| unknown(id));
                continue;
            };
            if !device.online() {
                faults.push(|| {
                    let message = format!("device {id} is offline");
                    detail(id, None, ErrorCode::DeviceOffline, message)
                });
                continue;
            }
            for Reading { code, value } in readings {
                let checked = check_write(
                    device.schema(),
                    code.as_str(),
                    value,
                    self.shared.strict_step,
                );
                if let Err(refusal) = checked {
                    let kind = match refusal {
                        Refusal::UnsupportedCode(_) => ErrorCode::UnsupportedCode,
                        Refusal::InvalidValue(_) => ErrorCode::InvalidValue,
                    };
                    faults.push(|| {
                        let message = format!("device {id}: {refusal}");
                        detail(id, Some(code), kind, message)
                    });
                }
            }
        }
        faults
    }
}

/// Joins the writes of one device, in order: the last of two writes of one data point wins, wherever
/// in the request they are (section 5). Devices without any are left out.
fn by_device(writes: &[DeviceWrite]) -> Vec<(&DeviceId, Vec<&Reading>)> {
    let mut places = HashMap::new();
    let mut joined: Vec<(&DeviceId, Vec<&Reading>)> = Vec::new();
    for DeviceWrite { device, readings } in writes.iter().filter(|w| !w.readings.is_empty()) {
        let place = *places.entry(device).or_insert(joined.len());
        match joined.get_mut(place) {
            Some((_, known)) => known.extend(readings),
            None => joined.push((device, readings.iter().collect())),
        }
    }
    joined
}

/// Keeps the last write of each data point; the order is that of the last ones.
fn last_of_each_code(readings: &[&Reading]) -> Vec<Reading> {
    let mut seen = HashSet::new();
    let mut last: Vec<Reading> = readings
        .iter()
        .rev()
        .filter(|reading| seen.insert(&reading.code))
        .map(|reading| (*reading).clone())
        .collect();
    last.reverse();
    last
}

fn driver_ended(device: &DeviceId) -> ErrorDetail {
    let message = format!("the driver of device {device} ended");
    detail(device, None, ErrorCode::Internal, message)
}

/// Waits for the drivers, at most as long as an answer may take.
async fn outcomes(waiting: Vec<(DeviceId, Outcome)>) -> Result<(), ErrorBody> {
    let deadline = tokio::time::Instant::now() + ANSWER_TIMEOUT;
    let mut faults = Faults::default();
    for (device, outcome) in waiting {
        match tokio::time::timeout_at(deadline, outcome).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(CommandFault { code, message }))) => {
                faults.push(|| detail(&device, None, code, message));
            }
            Ok(Err(_)) => faults.push(|| driver_ended(&device)),
            Err(_) => {
                let message = format!(
                    "device {device} did not answer within {}s",
                    ANSWER_TIMEOUT.as_secs()
                );
                faults.push(|| detail(&device, None, ErrorCode::Timeout, message));
            }
        }
    }
    faults.into_error().map_or(Ok(()), Err)
}
