//! Fan-out: one session writes a device, all sessions get the events.
//!
//! The value that is written is the one that the device has: a write of an equal value is an event like
//! any other (section 6) and changes nothing in the home. Writes go on while at most `outstanding` of them
//! have not reached all sessions. Every session counts its events and checks that their ids go up one by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hearthgate_protocol::model::{DeviceId, check_write};
use hearthgate_protocol::wire::{DeviceWrite, Request, parse_schemas, parse_statuses};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::handshakes::rate;
use super::{Progress, all, sessions};
use crate::error::BenchError;
use crate::figures::{Times, TimesSummary};
use crate::peer::Peer;
use crate::target::Target;

/// The time in which an event has to reach all sessions.
const ARRIVAL: Duration = Duration::from_secs(5);

/// How events are made.
#[derive(Clone, Debug)]
pub struct FanOut {
    /// Sessions that get the events.
    pub sessions: usize,
    /// The device to write.
    pub device: DeviceId,
    /// Writes whose events have not reached all sessions.
    pub outstanding: usize,
    /// For how long.
    pub duration: Duration,
    /// The count at which no further write is made.
    pub most: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct FanOutReport {
    /// Sessions that got the events.
    pub sessions: usize,
    /// Writes whose events had not reached all sessions, at most.
    pub outstanding: usize,
    /// Writes that were made, each of which made an event.
    pub writes: u64,
    /// In how long.
    pub seconds: f64,
    /// Events that sessions got, in a second, all sessions together.
    pub deliveries_per_second: f64,
    /// Events that other things in the home caused, all sessions together.
    pub other_events: u64,
    /// Places where the ids of a session's events did not go up by one.
    pub gaps: u64,
    /// From the write to the last session that got its event.
    pub times: TimesSummary,
}

/// Writes for a while.
///
/// # Errors
/// Where a session cannot be opened or ends, a write is refused, or its event does not reach all sessions
/// in 5 s.
pub async fn fan_out(
    target: &Target,
    load: FanOut,
    progress: &Arc<Progress>,
) -> Result<FanOutReport, BenchError> {
    progress.begin("sessions");
    let mut writer = Peer::connect(target).await?;
    let write = same_again(&mut writer, target, &load.device).await?;
    let peers = sessions(target, load.sessions, progress).await?;
    progress.begin("events");
    let tally = Arc::new(Tally::new(load.sessions, load.outstanding.max(1)));
    let (stop, stopped) = watch::channel(false);
    let needle = format!("\"devid\":{}", serde_json::json!(load.device.as_str()));
    let receivers = peers.into_iter().map(|peer| {
        let (tally, stopped, needle) = (Arc::clone(&tally), stopped.clone(), needle.clone());
        receive(peer, tally, stopped, needle)
    });
    let receiving = all(receivers);
    let writing = drive(writer, target, &load, write, &tally, progress, stop);
    let (received, written) = tokio::join!(receiving, writing);
    let (writes, seconds, times) = written?;
    let received = received?;
    let sum = |of: fn(&Received) -> u64| received.iter().map(of).sum::<u64>();
    Ok(FanOutReport {
        sessions: load.sessions,
        outstanding: load.outstanding,
        writes,
        seconds,
        deliveries_per_second: rate(sum(|received| received.ours), seconds),
        other_events: sum(|received| received.others),
        gaps: sum(|received| received.gaps),
        times: times.summary(),
    })
}

/// Which writes have reached whom: a ring of counters, one per write that is under way.
#[derive(Debug)]
struct Tally {
    sessions: usize,
    missing: Vec<AtomicUsize>,
    news: Notify,
}

impl Tally {
    fn new(sessions: usize, outstanding: usize) -> Self {
        Self {
            sessions,
            missing: (0..outstanding).map(|_| AtomicUsize::new(0)).collect(),
            news: Notify::new(),
        }
    }

    fn of(&self, write: u64) -> Option<&AtomicUsize> {
        let count = u64::try_from(self.missing.len()).ok()?;
        self.missing.get(usize::try_from(write % count).ok()?)
    }

    fn begin(&self, write: u64) {
        if let Some(missing) = self.of(write) {
            missing.store(self.sessions, Ordering::Release);
        }
    }

    fn arrived(&self, write: u64) {
        if let Some(missing) = self.of(write)
            && missing.fetch_sub(1, Ordering::AcqRel) == 1
        {
            self.news.notify_one();
        }
    }

    fn is_everywhere(&self, write: u64) -> bool {
        self.of(write)
            .is_some_and(|missing| missing.load(Ordering::Acquire) == 0)
    }
}

#[derive(Debug, Default)]
struct Received {
    ours: u64,
    others: u64,
    gaps: u64,
    last: Option<i64>,
}

async fn receive(
    mut peer: Peer,
    tally: Arc<Tally>,
    mut stopped: watch::Receiver<bool>,
    needle: String,
) -> Result<Received, BenchError> {
    let mut received = Received::default();
    loop {
        tokio::select! {
            biased;
            read = peer.receive() => read?,
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(received),
        }
        peer.take_json(&mut |json| received.take(json, &needle, &tally))?;
    }
}

impl Received {
    fn take(&mut self, json: &[u8], needle: &str, tally: &Tally) {
        let Some(id) = id_of(json) else { return };
        if self.last.is_some_and(|last| id != last + 1) {
            self.gaps += 1;
        }
        self.last = Some(id);
        if find(json, needle.as_bytes()) {
            tally.arrived(self.ours);
            self.ours += 1;
        } else {
            self.others += 1;
        }
    }
}

/// Writes until the time is over; returns how many writes, the seconds, and the time of each.
async fn drive(
    mut writer: Peer,
    target: &Target,
    load: &FanOut,
    write: Request,
    tally: &Tally,
    progress: &Progress,
    stop: watch::Sender<bool>,
) -> Result<(u64, f64, Times), BenchError> {
    let mut times = Times::default();
    let mut begun = std::collections::VecDeque::new();
    let (mut sent, mut done) = (0u64, 0u64);
    let window = u64::try_from(load.outstanding.max(1)).unwrap_or(u64::MAX);
    let start = Instant::now();
    loop {
        let going = start.elapsed() < load.duration && sent < load.most;
        while going && sent - done < window {
            tally.begin(sent);
            begun.push_back(Instant::now());
            writer.send(&write);
            sent += 1;
        }
        if sent == done {
            break;
        }
        writer.flush().await?;
        let next = async {
            tokio::select! {
                () = tally.news.notified() => Ok(()),
                read = writer.receive() => read,
            }
        };
        timeout(ARRIVAL, next)
            .await
            .map_err(|_| BenchError::Silent {
                gateway: target.name(),
                what: "event at every session after a write",
                after: ARRIVAL,
            })??;
        let mut refusal = None;
        writer.take_json(&mut |json| {
            if find(json, b"\"success\":false") {
                refusal = Some(String::from_utf8_lossy(json).into_owned());
            }
        })?;
        if let Some(refusal) = refusal {
            return Err(BenchError::Odd {
                gateway: target.name(),
                what: format!("a refusal of the write: {refusal}"),
            });
        }
        while done < sent && tally.is_everywhere(done) {
            if let Some(begun) = begun.pop_front() {
                times.add(begun.elapsed());
            }
            done += 1;
            progress.add(1);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    // Receivers that are gone have ended with an error of their own.
    let _ = stop.send(true);
    Ok((sent, seconds, times))
}

/// Makes the write of a value that the device has already.
pub(super) async fn same_again(
    peer: &mut Peer,
    target: &Target,
    device: &DeviceId,
) -> Result<Request, BenchError> {
    let odd = |fault: &dyn std::fmt::Display| BenchError::Odd {
        gateway: target.name(),
        what: format!("an answer that is none: {fault}"),
    };
    let ask = vec![device.clone()];
    let schemas = peer
        .request(&Request::GetSchema(ask.clone()), target)
        .await?;
    let schemas = parse_schemas(&schemas).map_err(|fault| odd(&fault))?;
    let statuses = peer.request(&Request::GetStatus(ask), target).await?;
    let statuses = parse_statuses(&statuses).map_err(|fault| odd(&fault))?;
    let readings = statuses.into_iter().flat_map(|status| status.readings);
    let mut writable = readings.filter(|reading| {
        let code = reading.code.as_str();
        let takes = |schema| check_write(schema, code, &reading.value, false).is_ok();
        schemas.iter().any(|entry| takes(&entry.schema))
    });
    match writable.next() {
        Some(reading) => Ok(Request::SetValue(vec![DeviceWrite {
            device: device.clone(),
            readings: vec![reading],
        }])),
        None => Err(BenchError::NothingToWrite {
            device: device.to_string(),
        }),
    }
}

/// Returns the id of an event; our gateway writes it first, others may not.
fn id_of(json: &[u8]) -> Option<i64> {
    #[derive(serde::Deserialize)]
    struct Message<'a> {
        id: i64,
        #[serde(borrow)]
        event_type: Option<&'a RawValue>,
    }
    if let Some(rest) = json.strip_prefix(b"{\"id\":")
        && let Some(end) = rest.iter().position(|byte| *byte == b',')
        && rest
            .get(end..)
            .is_some_and(|rest| rest.starts_with(b",\"type\":\"event\""))
    {
        return std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok();
    }
    let message: Message<'_> = serde_json::from_slice(json).ok()?;
    message.event_type.map(|_| message.id)
}

fn find(json: &[u8], needle: &[u8]) -> bool {
    json.windows(needle.len().max(1)).any(|part| part == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_wherever_they_stand_and_only_in_events() {
        let usual = br#"{"id":7,"type":"event","event_type":"state_changed","data":{"devid":"a"}}"#;
        assert_eq!(id_of(usual), Some(7));
        let other = br#"{"type":"event","event_type":"state_changed","id":-8,"data":{}}"#;
        assert_eq!(id_of(other), Some(-8));
        assert_eq!(id_of(br#"{"id":3,"type":"result","success":true}"#), None);
        assert_eq!(id_of(b"[]"), None);
    }

    #[test]
    fn gaps_are_counted_and_other_devices_apart() {
        let tally = Tally::new(1, 4);
        tally.begin(0);
        tally.begin(1);
        let mut received = Received::default();
        for (id, device) in [(5, "a"), (6, "b"), (9, "a")] {
            let json = format!(r#"{{"id":{id},"type":"event","data":{{"devid":"{device}"}}}}"#);
            received.take(json.as_bytes(), r#""devid":"a""#, &tally);
        }
        assert_eq!((received.ours, received.others, received.gaps), (2, 1, 1));
        assert!(tally.is_everywhere(0) && tally.is_everywhere(1));
    }
}
