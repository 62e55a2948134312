//! Commands and requests that come while the hub still looks at what the broker keeps. Pure.
//!
//! Input is `news`; output are the same messages, in order, once everything may be said. Until then
//! another hub may be there that carries them out, so that nothing is done and nothing is answered. What
//! cannot wait is refused then, by an answer of its own.

use std::time::Duration;

use bytes::Bytes;
use hearthgate_hub::DeviceRef;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::broker::Message;

/// The most that wait to be carried out; one more is refused.
const WAITING_MAX: usize = 256;
/// The most bytes of payloads that wait; what goes beyond is refused.
const WAITING_BYTES: usize = 4 * 1024 * 1024;
/// The most that wait to be refused; one more is counted and lost.
const REFUSED_MAX: usize = 512;
/// How long one may wait: what is carried out later than this is what nobody expects any more.
const WAITING_FOR: Duration = Duration::from_secs(5);
/// The longest id of a refused request that comes back in its answer, in bytes.
const ID_MAX: usize = 256;

/// What a message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A write to a device: several keys, or one.
    Set(DeviceRef, Option<String>),
    /// A request to the hub.
    Request(String),
}

/// Why something is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    TooMany,
    TooLate,
}

impl Refusal {
    /// Returns the code of the answer.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::TooMany => "busy",
            Self::TooLate => "timeout",
        }
    }

    /// Returns the text of the answer.
    pub(super) fn problem(self) -> String {
        let why = match self {
            Self::TooMany => format!("{WAITING_MAX} commands waited already"),
            Self::TooLate => format!("it waited longer than {} s", WAITING_FOR.as_secs()),
        };
        format!(
            "not carried out: the hub had just come to the broker and was looking at what that keeps, and \
             {why}; send it again"
        )
    }
}

/// What came too early.
#[derive(Debug, Default)]
pub(super) struct Early {
    waiting: Vec<Waiting>,
    accepted: usize,
    bytes: usize,
    lost: u64,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    call: Call,
    message: Message,
    refused: bool,
}

impl Early {
    /// Keeps a message until everything may be said.
    pub(super) fn keep(&mut self, now: Instant, call: Call, message: &Message) {
        let fits = self.bytes + message.payload.len() <= WAITING_BYTES;
        let refused = self.accepted >= WAITING_MAX || !fits;
        if refused && self.waiting.len() - self.accepted >= REFUSED_MAX {
            self.lost += 1;
            return;
        }
        let payload = match (&call, refused) {
            (_, false) => {
                self.accepted += 1;
                self.bytes += message.payload.len();
                // What came is a part of a larger buffer.
                Bytes::copy_from_slice(&message.payload)
            }
            (Call::Request(_), true) => id_alone(&message.payload),
            (Call::Set(..), true) => Bytes::new(),
        };
        self.waiting.push(Waiting {
            since: now,
            call,
            message: Message {
                payload,
                ..message.clone()
            },
            refused,
        });
    }

    /// Returns what waited, in the order in which it came, and what of it is to be refused.
    pub(super) fn take(&mut self, now: Instant) -> Vec<(Call, Message, Option<Refusal>)> {
        let taken = std::mem::take(self);
        if taken.lost > 0 {
            tracing::warn!(
                "{} commands came before the hub was ready, beyond those that it could answer: lost",
                taken.lost
            );
        }
        let waiting = taken.waiting.into_iter().map(|one| {
            let refusal = if one.refused {
                Some(Refusal::TooMany)
            } else if now.saturating_duration_since(one.since) > WAITING_FOR {
                Some(Refusal::TooLate)
            } else {
                None
            };
            (one.call, one.message, refusal)
        });
        waiting.collect()
    }

    /// Forgets what waited: the connection is over, and whoever answers is another one now.
    pub(super) fn forget(&mut self) {
        let count = self.waiting.len() as u64 + self.lost;
        *self = Self::default();
        if count > 0 {
            tracing::warn!(
                "{count} commands came before the hub was ready, and the connection to the broker has ended: lost"
            );
        }
    }
}

/// Keeps of a request what its answer repeats.
fn id_alone(payload: &[u8]) -> Bytes {
    let whole: Option<Value> = serde_json::from_slice(payload).ok();
    let id = whole.and_then(|mut whole| whole.get_mut("id").map(Value::take));
    match id.map(|id| json!({"id": id}).to_string()) {
        Some(text) if text.len() <= ID_MAX => text.into(),
        _ => Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Call {
        Call::Set(DeviceRef::new("home", "lamp"), Some("switch".to_owned()))
    }

    fn message(payload: impl Into<Bytes>) -> Message {
        Message {
            topic: "hearthgate/home/lamp/set/switch".to_owned(),
            payload: payload.into(),
            retained: false,
            correlation: Some(Bytes::from_static(b"mine")),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_too_early_comes_back_once_in_its_order() {
        let (mut early, now) = (Early::default(), Instant::now());
        let list = Call::Request("list".to_owned());
        early.keep(now, set(), &message("on"));
        early.keep(now, list.clone(), &message("{}"));
        early.keep(now, set(), &message("off"));
        let expected = vec![
            (set(), message("on"), None),
            (list, message("{}"), None),
            (set(), message("off"), None),
        ];
        assert_eq!(early.take(now + WAITING_FOR), expected);
        assert_eq!(early.take(now), []);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waited_too_long_is_refused() {
        let (mut early, now) = (Early::default(), Instant::now());
        early.keep(now, set(), &message("on"));
        let later = now + Duration::from_secs(3);
        early.keep(later, set(), &message("off"));
        let taken = early.take(later + WAITING_FOR);
        assert_eq!(taken[0], (set(), message("on"), Some(Refusal::TooLate)));
        assert_eq!(taken[1], (set(), message("off"), None));
        assert_eq!(Refusal::TooLate.code(), "timeout");
        assert!(Refusal::TooLate.problem().contains("5 s"));
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_than_may_wait_is_refused_and_the_refused_are_bounded_too() {
        let (mut early, now) = (Early::default(), Instant::now());
        for _ in 0..WAITING_MAX + REFUSED_MAX + 7 {
            early.keep(now, set(), &message("on"));
        }
        assert_eq!(early.lost, 7);
        let taken = early.take(now);
        assert_eq!(taken.len(), WAITING_MAX + REFUSED_MAX);
        for (index, (_, message, refusal)) in taken.iter().enumerate() {
            let expected = (index >= WAITING_MAX).then_some(Refusal::TooMany);
            assert_eq!(*refusal, expected, "{index}");
            assert_eq!(message.correlation.as_deref(), Some(&b"mine"[..]));
        }
        early.keep(now, set(), &message("on"));
        assert_eq!(early.take(now)[0].2, None, "all is counted anew");
    }

    #[tokio::test(start_paused = true)]
    async fn large_payloads_are_not_kept_and_a_refused_request_keeps_its_id() {
        let (mut early, now) = (Early::default(), Instant::now());
        early.keep(now, set(), &message(vec![b' '; WAITING_BYTES - 1]));
        early.keep(now, set(), &message("off"));
        let request = Call::Request("list".to_owned());
        let long = "x".repeat(ID_MAX);
        for payload in [json!({"id": 7, "name": "x"}), json!({"id": long})] {
            early.keep(now, request.clone(), &message(payload.to_string()));
        }
        early.keep(now, set(), &message("1"));
        let taken = early.take(now);
        let refusals: Vec<_> = taken.iter().map(|one| one.2).collect();
        let too_many = Some(Refusal::TooMany);
        assert_eq!(refusals, [None, too_many, too_many, too_many, None]);
        let payloads: Vec<_> = taken.iter().skip(1).map(|one| &one.1.payload[..]).collect();
        assert_eq!(payloads, [&b""[..], b"{\"id\":7}", b"", b"1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_carried_over_to_another_connection() {
        let (mut early, now) = (Early::default(), Instant::now());
        early.keep(now, set(), &message("on"));
        early.forget();
        assert_eq!(early.take(now), []);
    }
}
