//! What is needed of a connection to one device, and nothing of how it is made.
//!
//! `lan` implements it over the crate that speaks the protocol; tests implement it in memory.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;

use hearthgate_protocol::model::Value;

use crate::secret::LocalKey;

/// A future of a trait object.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A version of the vendor's LAN protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 3.1: reads in the clear, writes encrypted.
    V31,
    /// 3.2: like 3.3, queried in the way of `device22`.
    V32,
    /// 3.3: all encrypted under the local key.
    V33,
    /// 3.4: a session key is negotiated.
    V34,
    /// 3.5: the same, with authenticated encryption.
    V35,
}

impl Version {
    /// All of them, in the order in which an unknown one is guessed: the most common first.
    pub const LIKELY: [Self; 5] = [Self::V33, Self::V34, Self::V35, Self::V31, Self::V32];

    /// Returns the name, such as `3.4`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V31 => "3.1",
            Self::V32 => "3.2",
            Self::V33 => "3.3",
            Self::V34 => "3.4",
            Self::V35 => "3.5",
        }
    }

    /// Tells whether a session key is negotiated, which proves the local key.
    pub(crate) fn negotiates(self) -> bool {
        matches!(self, Self::V34 | Self::V35)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no version `{0}`: write 3.1, 3.2, 3.3, 3.4, 3.5 or auto")]
pub struct VersionError(String);

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        Self::LIKELY
            .into_iter()
            .find(|version| version.name() == text)
            .ok_or_else(|| VersionError(text.chars().take(20).collect()))
    }
}

/// How a device is asked for its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// By a query, which it answers with everything.
    #[default]
    Standard,
    /// By naming the data points that are wanted; the plain query is refused.
    Device22,
}

/// Whom to connect to, and as what.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) id: String,
    pub(crate) key: LocalKey,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) version: Version,
    pub(crate) dialect: Dialect,
}

/// What is sent to a device. `cid` names a sub-device behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Asks for the state; `numbers` matters to [`Dialect::Device22`] alone.
    Query {
        cid: Option<String>,
        numbers: Vec<u16>,
    },
    /// Writes data points.
    Write {
        cid: Option<String>,
        points: Vec<(u16, Value)>,
    },
    /// Has a device measure some data points anew.
    Refresh {
        cid: Option<String>,
        numbers: Vec<u16>,
    },
    /// Asks which sub-devices are in reach.
    SubDevices,
}

/// What a frame is, by its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// A report that nobody asked for.
    Report,
    /// The answer to a query.
    Answer,
    /// The answer to a write.
    Taken,
    /// Which sub-devices are in reach.
    SubDevices,
    /// Anything else.
    Other,
}

/// A frame from a device, decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    /// The device's return code, 0 where all is well.
    pub(crate) code: Option<u32>,
    pub(crate) body: Vec<u8>,
}

/// Why a connection ended or never came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Nobody takes connections there.
    Unreachable(String),
    /// Somebody does, and does not understand us, or we do not understand them: another key or version.
    NotUnderstood,
    /// It refuses the plain query and wants the data points named.
    Device22,
    /// It was understood, and then the connection was lost.
    Lost,
}

/// What a connection tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// It is made, and where a session key is negotiated, the key is proven.
    Up,
    /// A frame came.
    Frame(Frame),
    /// A frame came that does not decrypt.
    Garbled,
    /// Frames were lost on the way to us: the state must be read again.
    Missed,
    /// It is over.
    Down(Cause),
}

/// One connection, from the first attempt to its end; it never comes back by itself.
pub(crate) trait Link: Send {
    /// Returns what happens next. Cancel-safe; pends for ever after [`LinkEvent::Down`].
    fn next(&mut self) -> Boxed<'_, LinkEvent>;

    /// Sends, within a second or not at all; a request that is lost shows as one without an answer.
    fn send(&mut self, request: Request) -> Boxed<'_, ()>;

    /// Ends it, within a second.
    fn close(self: Box<Self>) -> Boxed<'static, ()>;
}

/// Makes connections.
pub(crate) trait Connector: Send + Sync + 'static {
    /// Begins a connection.
    fn open(&self, target: Target) -> Box<dyn Link>;
}
