//! What was: the trait by which the history reaches the page and the API, without either knowing the other.
//!
//! Input: a [`HistoryQuery`] from an outlet that shows history. Output: a [`Series`] from whoever keeps it
//! (the crate `history`); the command line joins the two as `Arc<dyn HistorySource>`. No source means that
//! no history is kept.
//!
//! Kept is what travelled: the raw value of the wire. Scale and unit of the device's schema, as it was last
//! declared, are applied when a series is read: everything here that is an `f64` is in the user's units, a
//! [`Value`] is raw.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use hearthgate_protocol::model::{Code, Source, Timestamp, Value};

use crate::identity::{DeviceRef, GatewayId};

/// The most points that one answer holds; a larger [`HistoryQuery::limit`] is taken as this.
pub const HISTORY_LIMIT_MAX: usize = 10_000;

/// An answer that is on its way.
pub type HistoryFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, HistoryError>> + Send + 'a>>;

/// Whoever keeps history.
pub trait HistorySource: fmt::Debug + Send + Sync {
    /// Returns a part of one series, oldest first. Nothing known of it is an empty series, no error.
    fn query(&self, query: HistoryQuery) -> HistoryFuture<'_, Series>;

    /// Returns what there is any history of: all, or that of one device.
    fn subjects(&self, device: Option<DeviceRef>) -> HistoryFuture<'_, Vec<Subject>>;

    /// Returns how the keeping goes, for metrics; waits for nothing.
    fn status(&self) -> HistoryStatus;
}

/// What a series is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The values of a data point.
    Point(DeviceRef, Code),
    /// Whether a device was in reach of its gateway: `true` and `false`.
    Online(DeviceRef),
    /// Whether there was a connection to a gateway: `true` and `false`.
    Link(GatewayId),
}

/// Which part of which series.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryQuery {
    /// Which series.
    pub subject: Subject,
    /// From when, this instant included.
    pub from: Timestamp,
    /// Until when, this instant excluded. Nothing is known beyond the present.
    pub to: Timestamp,
    /// How fine.
    pub resolution: Resolution,
    /// The most points of this answer, 1 to [`HISTORY_LIMIT_MAX`]; more follow by [`Series::next`].
    pub limit: usize,
    /// Where the answer before ended: its [`Series::next`], with all else as it was.
    pub cursor: Option<String>,
}

/// How fine a series is asked for. States (whatever is no number) are always told change by change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// One of the resolutions that are kept.
    Exactly(Step),
    /// The finest that has at most so many points from beginning to end and reaches back far enough;
    /// days where none has.
    Auto {
        /// How many points.
        max_points: usize,
    },
}

/// The resolutions that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Every change.
    Raw,
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
    /// Days, UTC.
    Day,
}

/// A part of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The unit, as the device spells it; empty where there is none, or none is known.
    pub unit: String,
    /// How many decimal places the raw value is shifted by: a quantity is `raw / 10^scale`.
    pub scale: u32,
    /// Whether it is a number, so that means make sense.
    pub is_number: bool,
    /// What was in force when the part began (the newest change before [`HistoryQuery::from`]), so that a
    /// line can start at its edge. On the first answer alone, where it is raw.
    pub before: Option<Change>,
    /// The points, oldest first; which kind tells the resolution.
    pub points: Points,
    /// Where to go on; none at the end.
    pub next: Option<String>,
}

/// The points of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Points {
    /// Every change, [`Step::Raw`].
    Changes(Vec<Change>),
    /// Means of equal stretches of time.
    Buckets {
        /// How long: never [`Step::Raw`].
        step: Step,
        /// The stretches of which anything is known, also those without any change.
        buckets: Vec<Bucket>,
    },
}

/// A value, from its time to the time of the next one.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When it came, by the clock of the hub.
    pub at: Timestamp,
    /// The value as on the wire. None: from here on nothing is known, since the device was out of reach,
    /// or the gateway, or no hub was running.
    pub value: Option<Value>,
    /// The number in the user's units, where it is one.
    pub number: Option<f64>,
    /// How it was learned.
    pub source: Source,
    /// Whether it is the same value once more: an event in its own right, such as a second press.
    pub repeated: bool,
}

/// A stretch of time of a number; in the user's units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// When it begins: a whole minute, hour or day, UTC.
    pub start: Timestamp,
    /// The mean, each value weighted by how long it held within the stretch.
    pub mean: f64,
    /// The smallest value that held within it, also from before.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The value at its end; none where nothing was known then.
    pub last: Option<f64>,
    /// How many changes fell into it.
    pub count: u64,
}

/// How the keeping goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryStatus {
    /// Whether what comes is stored; false while the disk fails.
    pub storing: bool,
    /// Changes stored since the start.
    pub stored: u64,
    /// Changes that were lost since the start: too many at once, or no room on the disk for too long.
    pub lost: u64,
    /// Changes that wait to be written.
    pub waiting: u64,
    /// The size of the store in bytes.
    pub bytes: u64,
    /// Since when there are changes; none where there are none.
    pub oldest: Option<Timestamp>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The question makes no sense; the text says what of it.
    #[error("{0}")]
    Query(String),
    /// The store cannot be read at the moment.
    #[error("the history cannot be read: {0}")]
    Unavailable(String),
    /// It took longer than a query may.
    #[error("the history took too long to answer; ask for less, or for a coarser resolution")]
    TooSlow,
}

impl Step {
    /// All of them, finest first.
    pub const ALL: &'static [Self] = &[Self::Raw, Self::Minute, Self::Hour, Self::Day];

    /// Returns the name for options and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Returns its length in milliseconds; 0 for [`Step::Raw`].
    pub fn milliseconds(self) -> i64 {
        match self {
            Self::Raw => 0,
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }
}

impl Points {
    /// Returns the resolution.
    pub fn step(&self) -> Step {
        match self {
            Self::Changes(_) => Step::Raw,
            Self::Buckets { step, .. } => *step,
        }
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Changes(changes) => changes.len(),
            Self::Buckets { buckets, .. } => buckets.len(),
        }
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
