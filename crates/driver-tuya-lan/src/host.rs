//! A connection and the devices behind it: which of them a frame is of, whether we are understood, and
//! which write an acknowledgement belongs to.
//!
//! Pure, as [`crate::unit`] is. The vendor's protocol does not say to which request an answer belongs, so
//! each device has one write on its way at most, and an acknowledgement that could be of two writes
//! counts for neither: what the device shows then decides.

use std::collections::VecDeque;
use std::time::Duration;

use hearthgate_protocol::model::{Device, DeviceId, Reading};
use hearthgate_protocol::wire::ErrorCode;
use tokio::time::Instant;
use tracing::debug;

use crate::config::DeviceConfig;
use crate::config::Reach;
use crate::link::{Cause, Dialect, Frame, FrameKind, Request, Version};
use crate::payload::{self, Content};
use crate::unit::{Action, News, Unit, fault};

/// How long the first answer may take.
pub(crate) const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// How long an acknowledgement of a write that was given up may still come.
const LATE: Duration = Duration::from_secs(10);
/// Part of what a device says that must be asked by naming its data points.
const REFUSED_QUERY: &str = "data unvalid";

/// A device with a connection of its own, and its sub-devices.
#[derive(Debug)]
pub(crate) struct Host<A> {
    /// The device itself.
    own: Unit<A>,
    subs: Vec<Unit<A>>,
    link: Option<Session>,
    /// Until when an acknowledgement may come that belongs to no write any more.
    late: VecDeque<Instant>,
}

/// What is known of the connection that is up.
#[derive(Debug)]
struct Session {
    dialect: Dialect,
    may_switch: bool,
    /// Whether something came that only the right key and version make sense of.
    understood: bool,
    /// When that must have been.
    answer_by: Option<Instant>,
}

impl<A> Host<A> {
    pub(crate) fn new(own: DeviceConfig, subs: Vec<DeviceConfig>) -> Self {
        let subs = subs.into_iter().map(|sub| {
            let cid = match &sub.reach {
                Reach::Behind { cid, .. } => Some(cid.clone()),
                Reach::Direct(_) => None,
            };
            Unit::new(sub, cid)
        });
        Self {
            own: Unit::new(own, None),
            subs: subs.collect(),
            link: None,
            late: VecDeque::new(),
        }
    }

    /// Returns the devices as the registry is to know them.
    pub(crate) fn devices(&self) -> Vec<Device> {
        self.units().map(Unit::device).collect()
    }

    pub(crate) fn title(&self) -> &str {
        self.own.title()
    }

    /// Tells whether the connection is up and the other side has proven that it understands us.
    pub(crate) fn is_understood(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.understood)
    }

    /// Begins with a connection. `may_switch` tells whether another dialect may be tried.
    pub(crate) fn up(
        &mut self,
        now: Instant,
        version: Version,
        dialect: Dialect,
        may_switch: bool,
    ) -> Vec<Action<A>> {
        let mut out = Vec::new();
        self.late.clear();
        self.link = Some(Session {
            dialect,
            may_switch,
            understood: version.negotiates(),
            answer_by: Some(now + FIRST_ANSWER),
        });
        for unit in self.units_mut() {
            unit.ask(now, dialect, &mut out);
        }
        if !self.subs.is_empty() {
            out.push(Action::Send(Request::SubDevices));
        }
        self.pump(now, &mut out);
        out
    }

    /// Goes on without a connection.
    pub(crate) fn down(&mut self, now: Instant) -> Vec<Action<A>> {
        let mut out = Vec::new();
        self.link = None;
        for unit in self.units_mut() {
            unit.leave(now, &mut out);
        }
        out
    }

    /// Takes a frame.
    pub(crate) fn frame(&mut self, now: Instant, frame: &Frame) -> Vec<Action<A>> {
        let mut out = Vec::new();
        let content = payload::read(&frame.body, frame.code);
        let Some(link) = &mut self.link else {
            return out;
        };
        let dialect = link.dialect;
        if matches!(
            content,
            Content::Points(_) | Content::SubDevices { .. } | Content::Nothing
        ) {
            link.understood = true;
        }
        match content {
            Content::Points(points) => {
                let named = points.cid.as_deref().or(points.device.as_deref());
                let unit = match self.subs.iter_mut().find(|sub| {
                    let names = [sub.cid(), Some(sub.id().as_str())];
                    named.is_some() && names.contains(&named)
                }) {
                    Some(sub) => sub,
                    None if points.cid.is_none() => &mut self.own,
                    None => {
                        debug!(
                            "{}: a report of a sub-device that is not configured",
                            self.own.title()
                        );
                        return out;
                    }
                };
                if unit.is_away() {
                    unit.ask(now, dialect, &mut out);
                }
                let news = match frame.kind {
                    FrameKind::Answer => News::Asked,
                    // Where data points are named the answer looks like a report or a write's.
                    _ if dialect == Dialect::Device22 && unit.is_asking() => News::Asked,
                    // That of a write that was given up: it says what the device has, and no more.
                    FrameKind::Taken if self.late.pop_front().is_some() => News::Pushed,
                    FrameKind::Taken if unit.is_unacknowledged() => {
                        unit.acknowledge(now);
                        News::Written
                    }
                    FrameKind::Taken => News::Asked,
                    _ => News::Pushed,
                };
                unit.take(now, points.values, news, &mut out);
            }
            Content::SubDevices { online, offline } => {
                for sub in &mut self.subs {
                    let is_in = |list: &[String]| list.iter().any(|cid| Some(&**cid) == sub.cid());
                    if is_in(&offline) {
                        sub.leave(now, &mut out);
                    } else if is_in(&online) && sub.is_away() {
                        sub.ask(now, dialect, &mut out);
                    }
                }
            }
            Content::Empty | Content::Nothing if frame.kind == FrameKind::Taken => {
                self.taken(now, frame.code, "", &mut out);
            }
            Content::Words(words) if frame.kind == FrameKind::Taken => {
                let code = frame.code.filter(|code| *code != 0).unwrap_or(1);
                self.taken(now, Some(code), &format!(": {words}"), &mut out);
            }
            Content::Words(words) if frame.kind == FrameKind::Answer => {
                if words.contains(REFUSED_QUERY) && self.subs.is_empty() {
                    if link.may_switch && dialect == Dialect::Standard && !self.own.has_replied() {
                        out.push(Action::GiveUp(Cause::Device22));
                    }
                } else if link.understood && self.own.is_asking() {
                    // A hub that has no data points of its own says so in this way.
                    self.own.answer_nothing(now, &mut out);
                }
            }
            Content::Nothing if frame.kind == FrameKind::Answer && self.own.is_asking() => {
                self.own.answer_nothing(now, &mut out);
            }
            Content::Garbled => return self.garbled(),
            Content::Empty | Content::Nothing | Content::Words(_) => {}
        }
        self.pump(now, &mut out);
        out
    }

    /// Notes that a frame came that makes no sense.
    pub(crate) fn garbled(&mut self) -> Vec<Action<A>> {
        match &self.link {
            Some(link) if !link.understood => vec![Action::GiveUp(Cause::NotUnderstood)],
            _ => Vec::new(),
        }
    }

    /// Notes that frames were lost on the way to us.
    pub(crate) fn missed(&mut self) -> Vec<Action<A>> {
        let mut out = Vec::new();
        if let Some(dialect) = self.link.as_ref().map(|link| link.dialect) {
            for unit in self.units_mut().filter(|unit| !unit.is_away()) {
                unit.ask_anew(dialect, &mut out);
            }
        }
        out
    }

    /// Takes a write.
    pub(crate) fn order(
        &mut self,
        now: Instant,
        device: &DeviceId,
        readings: Vec<Reading>,
        ack: A,
    ) -> Vec<Action<A>> {
        let mut out = Vec::new();
        match self.units_mut().find(|unit| unit.id() == device) {
            Some(unit) => unit.order(now, readings, ack, &mut out),
            None => {
                let message = format!("no device {device}");
                out.push(Action::Fail(ack, fault(ErrorCode::UnknownDevice, message)));
            }
        }
        self.pump(now, &mut out);
        out
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Action<A>> {
        let mut out = Vec::new();
        let dialect = self
            .link
            .as_ref()
            .map_or(Dialect::Standard, |link| link.dialect);
        let mut late = 0;
        for unit in self.units_mut() {
            late += usize::from(unit.tick(now, dialect, &mut out));
        }
        self.late.extend(std::iter::repeat_n(now + LATE, late));
        self.late.retain(|until| *until > now);
        if let Some(link) = &mut self.link
            && link.answer_by.is_some_and(|at| at <= now)
        {
            link.answer_by = None;
            if !link.understood {
                out.push(Action::GiveUp(Cause::NotUnderstood));
            } else if self.own.is_asking() && (self.own.has_replied() || !self.subs.is_empty()) {
                // It has told something, and not as an answer; or it is a hub without points.
                self.own.arrive(now, &mut out);
            }
        }
        self.pump(now, &mut out);
        out
    }

    /// Returns when [`Host::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let answer_by = self.link.as_ref().and_then(|link| link.answer_by);
        self.units()
            .filter_map(Unit::deadline)
            .chain(answer_by)
            .min()
    }

    /// Finds the write that an answer without any value belongs to.
    fn taken(&mut self, now: Instant, code: Option<u32>, words: &str, out: &mut Vec<Action<A>>) {
        if self.late.pop_front().is_some() {
            return;
        }
        let mut flights = self.units_mut().filter(|unit| unit.is_unacknowledged());
        let (Some(unit), None) = (flights.next(), flights.next()) else {
            return;
        };
        match code {
            None | Some(0) => unit.acknowledge(now),
            Some(code) => unit.refuse(words, code, out),
        }
    }

    /// Sends writes that wait, once it is sure that they are understood.
    fn pump(&mut self, now: Instant, out: &mut Vec<Action<A>>) {
        if self.is_understood() {
            for unit in self.units_mut() {
                unit.pump(now, out);
            }
        }
    }

    fn units(&self) -> impl Iterator<Item = &Unit<A>> {
        std::iter::once(&self.own).chain(&self.subs)
    }

    fn units_mut(&mut self) -> impl Iterator<Item = &mut Unit<A>> {
        std::iter::once(&mut self.own).chain(&mut self.subs)
    }
}

#[cfg(test)]
mod tests;
