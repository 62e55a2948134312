//! The rules of writes (section 5), on a device that was named for it: only values that it already has.

use hearthgate_protocol::model::{DeviceId, Reading, Schema, Spec, check_write};
use hearthgate_protocol::wire::{DeviceWrite, EventKind, Request, StatusEntry, parse_statuses};

use super::{Bench, Tried, Trouble, Verdict, shown};
use crate::line::Fault;
use crate::session::Incoming;

/// A write of what is there already.
struct SameValue {
    device: DeviceId,
    reading: Reading,
}

impl Bench<'_> {
    pub(super) async fn write_same_value(&mut self) -> Tried {
        let same = match self.same_value().await? {
            Ok(same) => same,
            Err(verdict) => return Ok(verdict),
        };
        let deadline = self.deadline();
        let session = self.session().await?;
        session.events.clear();
        let request = write(&same);
        let Reading { code, value } = &same.reading;
        Ok(match session.ask(&request, deadline).await? {
            Ok(_) => {
                self.written = Some((same.device.clone(), code.clone()));
                Verdict::Pass(format!("{} {code} = {value}, as it was", same.device))
            }
            refused => Verdict::Fail(format!(
                "{} {code} = {value}, the value it has, is answered with {}",
                same.device,
                shown(&refused)
            )),
        })
    }

    /// A successful write of an equal value is an event, for the requester too (section 6).
    pub(super) async fn write_event(&mut self) -> Tried {
        let Some((written, code)) = self.written.take() else {
            return Ok(Verdict::Skip("nothing was written".to_owned()));
        };
        let deadline = self.deadline();
        let session = self.session().await?;
        let tells = |kind: &EventKind| {
            matches!(kind, EventKind::StateChanged { device, readings }
                if *device == written && readings.iter().any(|reading| reading.code == code))
        };
        // It may have come before the result.
        let mut found = session.events.iter().any(|(event, _)| tells(&event.kind));
        while !found {
            match session.next(deadline).await {
                Ok(Incoming::Event { event, json }) => {
                    found = tells(&event.kind);
                    session.keep(Incoming::Event { event, json });
                }
                Ok(_) => {}
                Err(Fault::Timeout) => {
                    return Ok(Verdict::Warn(
                        "no state_changed followed the write of an equal value".to_owned(),
                    ));
                }
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(Verdict::Pass("state_changed came for the write".to_owned()))
    }

    /// Chooses what to write, of what the device has at this moment.
    async fn same_value(&mut self) -> Result<Result<SameValue, Verdict>, Trouble> {
        let skip = |text: String| Ok(Err(Verdict::Skip(text)));
        let Some(device) = self.options.write.clone() else {
            return skip("writes nothing without --write DEVICE".to_owned());
        };
        let facts = self.devices.iter().find(|facts| facts.device == device);
        let Some(facts) = facts else {
            return Ok(Err(Verdict::Fail(format!(
                "the gateway has no device {device}: `hearthgate devices` lists them"
            ))));
        };
        let Some((schema, _)) = facts.schema.clone() else {
            return skip(format!("{device} sent no schema"));
        };
        let deadline = self.deadline();
        let session = self.session().await?;
        let request = Request::GetStatus(vec![device.clone()]);
        let result = session.ask(&request, deadline).await?.unwrap_or_default();
        let statuses = parse_statuses(&result).unwrap_or_default();
        let Some(status) = statuses.into_iter().find(|status| status.device == device) else {
            return skip(format!("{device} sent no status"));
        };
        if !status.online {
            return skip(format!("{device} is offline"));
        }
        Ok(match choose(&schema, &status) {
            Some(reading) => Ok(SameValue { device, reading }),
            None => Err(Verdict::Skip(format!(
                "{device} has no data point that reports and takes its own value"
            ))),
        })
    }
}

/// Prefers a Boolean or an Enum to a number, which may be a countdown.
fn choose(schema: &Schema, status: &StatusEntry) -> Option<Reading> {
    let rank = |reading: &&Reading| match schema
        .function(reading.code.as_str())
        .map(|point| point.spec())
    {
        Some(Spec::Boolean) => 0,
        Some(Spec::Enum { .. }) => 1,
        Some(Spec::Integer(_)) => 2,
        _ => 3,
    };
    let writable = status
        .readings
        .iter()
        .filter(|reading| check_write(schema, reading.code.as_str(), &reading.value, true).is_ok());
    writable.min_by_key(rank).cloned()
}

fn write(same: &SameValue) -> Request {
    Request::SetValue(vec![DeviceWrite {
        device: same.device.clone(),
        readings: vec![same.reading.clone()],
    }])
}
