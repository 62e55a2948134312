//! One producer, many subscribers, whoever is between them: counts what arrives, checks that nothing is
//! missing and all is in order, and takes the time.
//!
//! All subscribers are served by one thread, so that the other core is free for who is measured.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hearthgate_bench::Peer;
use hearthgate_bench::figures::Times;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::Outcome;
use crate::mqtt::{self, Mqtt};
use crate::raw::{self, RawSession};
use crate::serve::REPORT_BYTES;

/// Bytes that one read takes at most; the same for everybody.
const READ_BYTES: usize = 64 * 1024;
/// The time in which an event must have reached everybody.
const ARRIVAL: Duration = Duration::from_secs(10);

pub(crate) enum Subscriber {
    Gateway(Box<Peer>),
    Mqtt(Mqtt),
    Raw(Box<RawSession>),
}

pub(crate) enum Producer {
    /// A device behind a driver.
    Device(TcpStream),
    Mqtt(Mqtt),
}

impl Producer {
    pub(crate) const TOPIC: &'static str = "bench/device/state";

    async fn send(&mut self, first: i64, count: usize) -> Outcome<()> {
        let mut out = Vec::new();
        match self {
            Self::Device(stream) => {
                out.resize(count * REPORT_BYTES, b'x');
                stream.write_all(&out).await?;
            }
            Self::Mqtt(connection) => {
                for index in 0..count {
                    let payload = raw::event(first + index as i64, 0);
                    mqtt::publish(&mut out, Self::TOPIC, &payload);
                }
                connection.stream.write_all(&out).await?;
            }
        }
        Ok(())
    }
}

/// What a run showed.
pub(crate) struct Run {
    /// Deliveries in a second, all subscribers together.
    pub(crate) per_second: f64,
    /// From just before the producer's write to the last subscriber that has it.
    pub(crate) times: Times,
}

/// Which events have reached whom.
struct Tally {
    subscribers: usize,
    /// The first event that has not reached everybody, and how many lack it and those after it.
    done: u64,
    missing: VecDeque<usize>,
    deliveries: u64,
}

struct Shared {
    tally: RefCell<Tally>,
    news: Notify,
}

/// When the next events are due.
#[derive(Clone, Copy)]
enum Pace {
    /// As soon as fewer than these have not reached everybody.
    Outstanding(usize),
    /// So many in a second, wherever the others are.
    PerSecond(u32),
}

/// How often it is looked whether events are due at a fixed pace.
const TICK: Duration = Duration::from_millis(1);
/// The most events that may not have reached everybody where the pace is fixed.
const FAR_BEHIND: usize = 1_000_000;

/// Produces for a while with at most `outstanding` events that have not reached everybody.
pub(crate) async fn run(
    subscribers: Vec<Subscriber>,
    producer: Producer,
    outstanding: usize,
    duration: Duration,
) -> Outcome<Run> {
    go(
        subscribers,
        producer,
        Pace::Outstanding(outstanding),
        duration,
    )
    .await
}

/// Produces for a while at a fixed pace.
pub(crate) async fn paced(
    subscribers: Vec<Subscriber>,
    producer: Producer,
    per_second: u32,
    duration: Duration,
) -> Outcome<Run> {
    go(subscribers, producer, Pace::PerSecond(per_second), duration).await
}

async fn go(
    subscribers: Vec<Subscriber>,
    mut producer: Producer,
    pace: Pace,
    duration: Duration,
) -> Outcome<Run> {
    let shared = Rc::new(Shared {
        tally: RefCell::new(Tally {
            subscribers: subscribers.len(),
            done: 0,
            missing: VecDeque::new(),
            deliveries: 0,
        }),
        news: Notify::new(),
    });
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let mut tasks = tokio::task::JoinSet::new();
            for subscriber in subscribers {
                tasks.spawn_local(receive(subscriber, Rc::clone(&shared)));
            }
            let produced = produce(&mut producer, &shared, pace, duration);
            tokio::select! {
                run = produced => run,
                Some(ended) = tasks.join_next() => match ended? {
                    Ok(()) => Err("a subscriber ended".into()),
                    Err(fault) => Err(fault),
                },
            }
        })
        .await
}

async fn produce(
    producer: &mut Producer,
    shared: &Shared,
    pace: Pace,
    duration: Duration,
) -> Outcome<Run> {
    let mut times = Times::default();
    let mut begun: VecDeque<Instant> = VecDeque::new();
    let mut sent = 0u64;
    let start = Instant::now();
    loop {
        let done = shared.tally.borrow().done;
        while begun.len() as u64 > sent - done {
            if let Some(begun) = begun.pop_front() {
                times.add(begun.elapsed());
            }
        }
        let under_way = (sent - done) as usize;
        let elapsed = start.elapsed();
        let room = match pace {
            Pace::Outstanding(most) => most - under_way,
            Pace::PerSecond(rate) => {
                let due = (elapsed.as_secs_f64() * f64::from(rate)) as u64 + 1;
                due.saturating_sub(sent)
                    .min((FAR_BEHIND - under_way) as u64) as usize
            }
        };
        if elapsed >= duration {
            if under_way == 0 {
                break;
            }
        } else if room > 0 {
            {
                let mut tally = shared.tally.borrow_mut();
                let subscribers = tally.subscribers;
                tally.missing.extend(std::iter::repeat_n(subscribers, room));
            }
            begun.extend(std::iter::repeat_n(Instant::now(), room));
            producer.send(sent as i64 + 1, room).await?;
            sent += room as u64;
        }
        match pace {
            Pace::PerSecond(_) if elapsed < duration => {
                let _ = tokio::time::timeout(TICK, shared.news.notified()).await;
            }
            _ => within(shared.news.notified()).await?,
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let deliveries = shared.tally.borrow().deliveries;
    Ok(Run {
        per_second: deliveries as f64 / seconds,
        times,
    })
}

async fn within<T>(event: impl Future<Output = T>) -> Outcome<T> {
    let arrived = tokio::time::timeout(ARRIVAL, event).await;
    arrived.map_err(|_| format!("an event did not reach every subscriber in {ARRIVAL:?}").into())
}

async fn receive(mut subscriber: Subscriber, shared: Rc<Shared>) -> Outcome<()> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
    }
    // The first event sets the base: a gateway counts on from run to run.
    let mut base = None;
    let mut seen = 0u64;
    loop {
        let before = seen;
        let mut fault = None;
        let mut look = |json: &[u8]| match id_of(json) {
            Some(id) => {
                let base = *base.get_or_insert(id);
                if id != base + seen as i64 {
                    fault = Some(format!(
                        "event {id} came where {} was due",
                        base + seen as i64
                    ));
                }
                seen += 1;
            }
            None => fault = Some("a message without an id".to_owned()),
        };
        match &mut subscriber {
            Subscriber::Gateway(peer) => {
                peer.receive().await?;
                peer.take_json(&mut look)?;
            }
            Subscriber::Mqtt(mqtt) => {
                mqtt.stream.readable().await?;
                BUFFER.with_borrow_mut(|buffer| {
                    let count = read(&mqtt.stream, buffer)?;
                    mqtt.take(&buffer[..count], &mut look)
                })?;
            }
            Subscriber::Raw(session) => {
                session.stream.readable().await?;
                BUFFER.with_borrow_mut(|buffer| {
                    let count = read(&session.stream, buffer)?;
                    session.take(&buffer[..count], &mut look)
                })?;
            }
        }
        if let Some(fault) = fault {
            return Err(fault.into());
        }
        let mut tally = shared.tally.borrow_mut();
        tally.deliveries += seen - before;
        for event in before..seen {
            let place = (event - tally.done) as usize;
            if let Some(missing) = tally.missing.get_mut(place) {
                *missing -= 1;
            }
        }
        while tally.missing.front() == Some(&0) {
            tally.missing.pop_front();
            tally.done += 1;
            shared.news.notify_one();
        }
    }
}

/// Returns the id that stands in front of an event.
fn id_of(json: &[u8]) -> Option<i64> {
    let rest = json.strip_prefix(b"{\"id\":")?;
    let end = rest.iter().position(|byte| *byte == b',')?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

/// Reads what is there, which may be nothing.
fn read(stream: &TcpStream, buffer: &mut [u8]) -> Outcome<usize> {
    match stream.try_read(buffer) {
        Ok(0) => Err("the other side hung up".into()),
        Ok(count) => Ok(count),
        Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock => Ok(0),
        Err(fault) => Err(fault.into()),
    }
}
