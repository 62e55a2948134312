//! One producer, many subscribers, whoever is between them: counts what arrives, checks that nothing is
//! missing and all is in order, and takes the time.
//!
//! All subscribers are served by one thread, so that the other core is free for who is measured.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hearthgate_bench::figures::Times;
use hearthgate_bench::Peer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::mqtt::{self, Mqtt};
use crate::raw::{self, RawSession};
use crate::serve::REPORT_BYTES;
use crate::Outcome;

/// Bytes that one read takes at most; the same for everybody.
const READ_BYTES: usize = 64 * 1024;
/// The time in which an event must have reached everybody.
const ARRIVAL: Duration = Duration::from_secs(10);

pub(crate) enum Subscriber {
    Gateway(Peer),
    Mqtt(Mqtt),
    Raw(RawSession),
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
    pub(crate) deliveries: u64,
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

/// Produces for a while with at most `outstanding` events that have not reached everybody.
pub(crate) async fn run(
    subscribers: Vec<Subscriber>,
    mut producer: Producer,
    outstanding: usize,
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
            let produced = produce(&mut producer, &shared, outstanding, duration);
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
    outstanding: usize,
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
        let room = outstanding - (sent - done) as usize;
        if start.elapsed() >= duration {
            if room == outstanding {
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
        within(shared.news.notified()).await?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let deliveries = shared.tally.borrow().deliveries;
    Ok(Run {
        deliveries,
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
                    fault = Some(format!("event {id} came where {} was due", base + seen as i64));
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
                BUFFER.with_borrow_mut(|buffer| match mqtt.stream.try_read(buffer) {
                    Ok(0) => Err("mosquitto hung up".into()),
                    Ok(count) => mqtt.take(&buffer[..count], &mut look),
                    Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
                    Err(fault) => Err(fault.into()),
                })?;
            }
            Subscriber::Raw(session) => {
                session.stream.readable().await?;
                BUFFER.with_borrow_mut(|buffer| match session.stream.try_read(buffer) {
                    Ok(0) => Err("the loop hung up".into()),
                    Ok(count) => session.take(&buffer[..count], &mut look),
                    Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
                    Err(fault) => Err(fault.into()),
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

/// Reads and drops, for connections whose content does not matter.
pub(crate) async fn drain(stream: &mut TcpStream) -> Outcome<()> {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
