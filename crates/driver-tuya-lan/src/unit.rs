//! One device behind a connection, its own or its parent's: what it has shown, whether it is in reach,
//! and the writes that wait for it.
//!
//! Pure: time comes in, actions go out. [`crate::host`] decides which device a frame is of.

mod writes;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hearthgate_gateway::CommandFault;
use hearthgate_protocol::model::{
    Change, Device, DeviceId, Reading, Source, Stamp, Timestamp, Value,
};
use hearthgate_protocol::wire::ErrorCode;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::config::DeviceConfig;
use crate::link::{Cause, Dialect, Request};
use crate::points::{Admitted, PointTable};
use crate::translate::{self, Form};
#[cfg(test)]
pub(crate) use writes::WRITE_TIMEOUT;
use writes::{Flight, Order};

/// How long an answer may take before the question is repeated, at first and later.
const ASK_AGAIN: Duration = Duration::from_secs(2);
const ASK_AGAIN_LATER: Duration = Duration::from_secs(30);
/// Data points that are asked for at once where they must be named.
const BATCH: usize = 16;
/// What is asked for where nothing is known.
const GUESSED: [std::ops::RangeInclusive<u16>; 4] = [1..=14, 15..=30, 101..=114, 115..=130];

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Action<A> {
    /// Send this.
    Send(Request),
    /// Tell the registry.
    Report(Vec<Change>),
    /// Tell the registry, and then whoever wrote.
    Succeed(Vec<Change>, A),
    /// Tell whoever wrote.
    Fail(A, CommandFault),
    /// Give the connection up.
    GiveUp(Cause),
}

/// What kind of news values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The device said it by itself: an event, also where nothing differs.
    Pushed,
    /// It was asked: an event only where something differs.
    Asked,
    /// It is the effect of a write.
    Written,
}

#[derive(Debug)]
enum Phase {
    /// Out of reach.
    Away,
    /// Asked for its state, which has not come in full.
    Asking {
        again_at: Instant,
        /// What is still to be asked for, where data points must be named.
        batches: VecDeque<Vec<u16>>,
        /// Whether anything came.
        replied: bool,
    },
    /// In reach.
    Here,
}

/// One device.
#[derive(Debug)]
pub(crate) struct Unit<A> {
    id: DeviceId,
    title: String,
    cid: Option<String>,
    category: String,
    points: PointTable,
    forms: HashMap<u16, Form>,
    values: BTreeMap<u16, Value>,
    /// Whether the schema has grown since the registry heard of it.
    grew: bool,
    poll: Option<Duration>,
    poll_at: Option<Instant>,
    refresh: Vec<u16>,
    grace: Duration,
    /// Whether the registry has it as online.
    announced: bool,
    /// When the registry is told that it is away.
    away_at: Option<Instant>,
    phase: Phase,
    waiting: VecDeque<Order<A>>,
    flight: Option<Flight<A>>,
}

impl<A> Unit<A> {
    pub(crate) fn new(config: DeviceConfig, cid: Option<String>) -> Self {
        Self {
            title: config.title(),
            id: config.id,
            cid,
            category: config.category,
            points: config.points,
            forms: HashMap::new(),
            values: BTreeMap::new(),
            grew: false,
            // A little off, so that a hundred devices are not asked at the same moment.
            poll: config
                .poll
                .map(|poll| poll.mul_f64(fastrand::f64().mul_add(0.1, 1.0))),
            poll_at: None,
            refresh: config.refresh,
            grace: config.grace,
            announced: false,
            away_at: None,
            phase: Phase::Away,
            waiting: VecDeque::new(),
            flight: None,
        }
    }

    pub(crate) fn id(&self) -> &DeviceId {
        &self.id
    }

    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    pub(crate) fn cid(&self) -> Option<&str> {
        self.cid.as_deref()
    }

    pub(crate) fn is_away(&self) -> bool {
        matches!(self.phase, Phase::Away)
    }

    pub(crate) fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Asking { .. })
    }

    /// Tells whether it answered the question for its state in some way.
    pub(crate) fn has_replied(&self) -> bool {
        matches!(
            self.phase,
            Phase::Asking { replied: true, .. } | Phase::Here
        )
    }

    /// Tells whether a write was sent and not acknowledged.
    pub(crate) fn is_unacknowledged(&self) -> bool {
        self.flight
            .as_ref()
            .is_some_and(|flight| flight.settle_at.is_none())
    }

    /// Returns the device as the registry is to know it.
    pub(crate) fn device(&self) -> Device {
        let schema = Arc::new(self.points.schema(&self.category));
        Device::new(
            self.id.clone(),
            schema,
            self.announced,
            self.readings(),
            stamp(),
        )
    }

    fn readings(&self) -> Vec<Reading> {
        self.values
            .iter()
            .filter_map(|(number, value)| {
                let point = self
                    .points
                    .point(*number)
                    .filter(|point| point.access.reads)?;
                Some(Reading::new(point.declared.code().clone(), value.clone()))
            })
            .collect()
    }

    /// Asks for the whole state.
    pub(crate) fn ask(&mut self, now: Instant, dialect: Dialect, out: &mut Vec<Action<A>>) {
        let mut batches = VecDeque::new();
        if dialect == Dialect::Device22 {
            let known = self.points.numbers();
            batches = match known.as_slice() {
                [] => GUESSED.into_iter().map(Iterator::collect).collect(),
                known => known.chunks(BATCH).map(<[u16]>::to_vec).collect(),
            };
        }
        let first = batches.pop_front().unwrap_or_default();
        out.push(self.query(first));
        self.phase = Phase::Asking {
            again_at: now + ASK_AGAIN,
            batches,
            replied: false,
        };
    }

    /// Asks what it has now, while it is in reach.
    pub(crate) fn ask_anew(&mut self, dialect: Dialect, out: &mut Vec<Action<A>>) {
        if !self.refresh.is_empty() {
            out.push(Action::Send(Request::Refresh {
                cid: self.cid.clone(),
                numbers: self.refresh.clone(),
            }));
        }
        if dialect == Dialect::Device22 {
            for batch in self.points.numbers().chunks(BATCH) {
                out.push(self.query(batch.to_vec()));
            }
        } else {
            out.push(self.query(Vec::new()));
        }
    }

    fn query(&self, numbers: Vec<u16>) -> Action<A> {
        let cid = self.cid.clone();
        Action::Send(Request::Query { cid, numbers })
    }

    /// Takes values that came.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        values: Vec<(u16, Value)>,
        news: News,
        out: &mut Vec<Action<A>>,
    ) {
        let mut readings = Vec::new();
        for (number, shown) in values {
            match self.points.admit(number, &shown) {
                Admitted::Known => {}
                Admitted::New => self.grew = true,
                Admitted::TooMany => continue,
            }
            let Some(point) = self.points.point(number) else {
                continue;
            };
            let form = self.forms.entry(number).or_default();
            let value;
            (value, *form) = translate::reported(point, &shown, *form);
            if let Some(flight) = &mut self.flight {
                let is_taken = flight.settle_at.is_some();
                flight.missing.retain(|(wanted, written, _)| {
                    *wanted != number || !(is_taken || translate::is_same(written, &shown))
                });
            }
            let differs = self.values.get(&number) != Some(&value);
            if differs {
                self.values.insert(number, value.clone());
            }
            if point.access.reads && (differs || news != News::Asked) {
                readings.push(Reading::new(point.declared.code().clone(), value));
            }
        }
        if news != News::Asked || self.poll_at.is_none() {
            self.put_poll_off(now);
        }
        let mut changes = self.grown();
        if self.announced && !readings.is_empty() {
            let device = self.id.clone();
            changes.push(Change::State { device, readings });
        }
        let done = self.flight.take_if(|flight| flight.missing.is_empty());
        match done {
            Some(flight) => out.push(Action::Succeed(changes, flight.ack)),
            None if !changes.is_empty() => out.push(Action::Report(changes)),
            None => {}
        }
        self.pass(now, news, out);
    }

    /// Goes on with what is asked while the state is not here in full.
    fn pass(&mut self, now: Instant, news: News, out: &mut Vec<Action<A>>) {
        let Phase::Asking {
            again_at,
            batches,
            replied,
        } = &mut self.phase
        else {
            return;
        };
        *replied = true;
        if news == News::Pushed {
            return;
        }
        match batches.pop_front() {
            Some(batch) => {
                *again_at = now + ASK_AGAIN;
                out.push(self.query(batch));
            }
            None => self.arrive(now, out),
        }
    }

    /// Notes that it answered without any value.
    pub(crate) fn answer_nothing(&mut self, now: Instant, out: &mut Vec<Action<A>>) {
        self.pass(now, News::Asked, out);
    }

    /// Is in reach from now on, with what it has shown.
    pub(crate) fn arrive(&mut self, now: Instant, out: &mut Vec<Action<A>>) {
        self.phase = Phase::Here;
        self.away_at = None;
        self.put_poll_off(now);
        let mut changes = self.grown();
        if !self.announced {
            self.announced = true;
            info!("{} is online", self.title);
            changes.push(Change::Online {
                device: self.id.clone(),
                online: true,
                readings: self.readings(),
            });
        }
        if !changes.is_empty() {
            out.push(Action::Report(changes));
        }
    }

    /// Describes the device anew where its schema has grown. Before it is in reach that can wait.
    fn grown(&mut self) -> Vec<Change> {
        if !self.grew || (!self.announced && !matches!(self.phase, Phase::Here)) {
            return Vec::new();
        }
        self.grew = false;
        vec![Change::Upsert(self.device())]
    }

    /// Is out of reach from now on; that is said when it has been for a while.
    pub(crate) fn leave(&mut self, now: Instant, out: &mut Vec<Action<A>>) {
        self.phase = Phase::Away;
        self.poll_at = None;
        if self.announced && self.away_at.is_none() {
            self.away_at = Some(now + self.grace);
        }
        if let Some(flight) = self.flight.take() {
            let message = format!(
                "device {} was lost before it acknowledged the write: it may have taken it or not",
                self.id
            );
            out.push(Action::Fail(
                flight.ack,
                fault(ErrorCode::DeviceOffline, message),
            ));
        }
    }

    /// Does what is due. Tells whether a write was given up that the device may still acknowledge.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        dialect: Dialect,
        out: &mut Vec<Action<A>>,
    ) -> bool {
        if self.away_at.is_some_and(|at| at <= now) {
            self.away_at = None;
            self.announced = false;
            warn!("{} is offline", self.title);
            out.push(Action::Report(vec![Change::Online {
                device: self.id.clone(),
                online: false,
                readings: Vec::new(),
            }]));
            for order in self.waiting.drain(..) {
                out.push(Action::Fail(order.ack, offline(&self.id)));
            }
        }
        let is_late = self.expire(now, dialect, out);
        match &mut self.phase {
            Phase::Asking {
                again_at,
                batches,
                replied,
            } if *again_at <= now => {
                *again_at = now + ASK_AGAIN_LATER;
                match (batches.pop_front(), *replied) {
                    (Some(batch), _) => {
                        *again_at = now + ASK_AGAIN;
                        out.push(self.query(batch));
                    }
                    (None, true) if dialect == Dialect::Device22 => self.arrive(now, out),
                    (None, _) => {
                        let again_at = *again_at;
                        self.ask(now, dialect, out);
                        if let Phase::Asking { again_at: at, .. } = &mut self.phase {
                            *at = again_at;
                        }
                    }
                }
            }
            Phase::Here if self.poll_at.is_some_and(|at| at <= now) => {
                self.put_poll_off(now);
                self.ask_anew(dialect, out);
            }
            _ => {}
        }
        is_late
    }

    /// Returns when [`Unit::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let flight = self.flight.as_ref();
        let again_at = match &self.phase {
            Phase::Asking { again_at, .. } => Some(*again_at),
            _ => None,
        };
        [
            self.away_at,
            self.poll_at,
            again_at,
            flight.map(|flight| flight.until),
            flight.and_then(|flight| flight.settle_at),
            flight.and_then(|flight| flight.confirm_at),
            self.waiting.front().map(|order| order.until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn put_poll_off(&mut self, now: Instant) {
        self.poll_at = match self.phase {
            Phase::Here => self.poll.map(|poll| now + poll),
            _ => None,
        };
    }
}

pub(crate) fn fault(code: ErrorCode, message: String) -> CommandFault {
    CommandFault { code, message }
}

pub(crate) fn offline(id: &DeviceId) -> CommandFault {
    fault(ErrorCode::DeviceOffline, format!("device {id} is offline"))
}

fn stamp() -> Stamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Stamp {
        at: Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        source: Source::Event,
    }
}
