//! The writes of one device: they wait, go one by one, and end by what the device says or shows.

use std::time::Duration;

use hearthgate_gateway::CommandFault;
use hearthgate_protocol::limits::ANSWER_TIMEOUT;
use hearthgate_protocol::model::{Change, DeviceId, Reading, Value};
use hearthgate_protocol::wire::ErrorCode;
use tokio::time::Instant;

use super::{Action, Phase, Unit, fault, offline};
use crate::link::{Dialect, Request};
use crate::translate;

/// How long a write may take: less than the gateway's answer may, so that the reason is said here.
pub(crate) const WRITE_TIMEOUT: Duration =
    ANSWER_TIMEOUT.saturating_sub(Duration::from_millis(500));
/// How long after its acknowledgement the report of a write is waited for.
const SETTLE: Duration = Duration::from_millis(250);
/// How long after a write without acknowledgement the device is asked what it has.
const CONFIRM: Duration = Duration::from_millis(1500);
/// Writes that may wait for one device; more are refused as `busy`.
pub(crate) const WRITES_WAITING: usize = 64;

/// A write that waits.
#[derive(Debug)]
pub(super) struct Order<A> {
    pub(super) readings: Vec<Reading>,
    pub(super) ack: A,
    pub(super) until: Instant,
}

/// A write that was sent.
#[derive(Debug)]
pub(super) struct Flight<A> {
    pub(super) ack: A,
    pub(super) until: Instant,
    /// What the device has not shown yet: as it has it, and as we do.
    pub(super) missing: Vec<(u16, Value, Reading)>,
    /// Until when a report is waited for, since the device acknowledged.
    pub(super) settle_at: Option<Instant>,
    /// When the device is asked what it has.
    pub(super) confirm_at: Option<Instant>,
}

impl<A> Unit<A> {
    /// Takes a write, which waits for those before it.
    pub(crate) fn order(
        &mut self,
        now: Instant,
        readings: Vec<Reading>,
        ack: A,
        out: &mut Vec<Action<A>>,
    ) {
        if !self.announced {
            out.push(Action::Fail(ack, offline(&self.id)));
        } else if self.waiting.len() >= WRITES_WAITING {
            let message = format!("device {} has too many writes waiting: try again", self.id);
            out.push(Action::Fail(ack, fault(ErrorCode::Busy, message)));
        } else {
            let until = now + WRITE_TIMEOUT;
            self.waiting.push_back(Order {
                readings,
                ack,
                until,
            });
        }
    }

    /// Sends the next write, if none is on its way.
    pub(crate) fn pump(&mut self, now: Instant, out: &mut Vec<Action<A>>) {
        if self.is_away() || self.flight.is_some() {
            return;
        }
        while let Some(order) = self.waiting.pop_front() {
            if order.until <= now {
                // It is told that nothing was done, so nothing may be done.
                out.push(Action::Fail(order.ack, timed_out(&self.id)));
                continue;
            }
            let missing: Vec<(u16, Value, Reading)> = order
                .readings
                .into_iter()
                .filter_map(|reading| {
                    let (number, point) = self.points.by_code(reading.code.as_str())?;
                    let form = self.forms.get(&number).copied().unwrap_or_default();
                    Some((
                        number,
                        translate::written(point, &reading.value, form),
                        reading,
                    ))
                })
                .collect();
            let points = missing
                .iter()
                .map(|(number, value, _)| (*number, value.clone()))
                .collect();
            out.push(Action::Send(Request::Write {
                cid: self.cid.clone(),
                points,
            }));
            self.flight = Some(Flight {
                ack: order.ack,
                until: order.until,
                missing,
                settle_at: None,
                confirm_at: Some(now + CONFIRM),
            });
            return;
        }
    }

    /// Notes that the device acknowledged the write on its way.
    pub(crate) fn acknowledge(&mut self, now: Instant) {
        if let Some(flight) = &mut self.flight {
            flight.settle_at = Some(now + SETTLE);
            flight.confirm_at = None;
        }
    }

    /// Notes that the device refused the write on its way.
    pub(crate) fn refuse(&mut self, words: &str, code: u32, out: &mut Vec<Action<A>>) {
        if let Some(flight) = self.flight.take() {
            let id = &self.id;
            let message = format!("device {id} refused the write with code {code}{words}");
            out.push(Action::Fail(
                flight.ack,
                fault(ErrorCode::Internal, message),
            ));
        }
    }

    /// Ends writes whose time is over.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        dialect: Dialect,
        out: &mut Vec<Action<A>>,
    ) -> bool {
        let mut is_late = false;
        if let Some(flight) = self
            .flight
            .take_if(|flight| flight.settle_at.is_some_and(|at| at <= now))
        {
            // It took the write and reports nothing: it has what it took.
            let mut readings = Vec::new();
            for (number, _, reading) in flight.missing {
                let reads = self
                    .points
                    .point(number)
                    .is_some_and(|point| point.access.reads);
                if reads {
                    self.values.insert(number, reading.value.clone());
                    readings.push(reading);
                }
            }
            let device = self.id.clone();
            let changes = match readings.is_empty() {
                true => Vec::new(),
                false => vec![Change::State { device, readings }],
            };
            out.push(Action::Succeed(changes, flight.ack));
        }
        if let Some(flight) = self.flight.take_if(|flight| flight.until <= now) {
            is_late = true;
            out.push(Action::Fail(flight.ack, timed_out(&self.id)));
        }
        if let Some(flight) = &mut self.flight
            && flight.confirm_at.is_some_and(|at| at <= now)
        {
            flight.confirm_at = None;
            let numbers = match dialect {
                Dialect::Standard => Vec::new(),
                Dialect::Device22 => flight.missing.iter().map(|(number, ..)| *number).collect(),
            };
            out.push(self.query(numbers));
        }
        while let Some(order) = self.waiting.pop_front_if(|order| order.until <= now) {
            let fault = match self.phase {
                Phase::Away => offline(&self.id),
                _ => timed_out(&self.id),
            };
            out.push(Action::Fail(order.ack, fault));
        }
        is_late
    }
}

fn timed_out(id: &DeviceId) -> CommandFault {
    let seconds = WRITE_TIMEOUT.as_secs_f32();
    let message = format!("device {id} did not acknowledge the write within {seconds}s");
    fault(ErrorCode::Timeout, message)
}
