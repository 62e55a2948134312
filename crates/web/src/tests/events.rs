//! The stream of events: what it tells, and how it is resumed.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hearthgate_protocol::model::{Change, Reading, Value};
use hearthgate_testkit::{eventually, switches};

use super::{Outlet, PATIENCE, request};
use crate::{Web, WebOptions};

/// An event as it came.
#[derive(Debug)]
struct Told {
    id: String,
    event: String,
    data: serde_json::Value,
}

/// A stream that is read event by event.
struct Stream {
    body: axum::body::BodyDataStream,
    text: String,
}

impl Stream {
    async fn open(outlet: &Outlet, last: Option<&str>) -> Self {
        let headers: Vec<_> = last.map(|id| ("last-event-id", id)).into_iter().collect();
        let asked = request("GET", "/api/v1/events", &headers, "");
        let response = outlet.send_from([127, 0, 0, 1], asked).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }

    async fn next(&mut self) -> Told {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().to_owned()
                };
                let told = Told {
                    id: field("id: "),
                    event: field("event: "),
                    data: serde_json::from_str(&field("data: ")).unwrap(),
                };
                self.text = rest.to_owned();
                return told;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next()).await;
            let chunk = chunk.expect("the stream is silent").unwrap().unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Returns the next event of a kind.
    async fn next_of(&mut self, kind: &str) -> Told {
        loop {
            let told = self.next().await;
            if told.event == kind {
                return told;
            }
        }
    }
}

async fn report(outlet: &Outlet, on: bool) {
    let change = Change::State {
        device: "switch-00000".into(),
        readings: vec![Reading::new("switch_1", Value::from(on))],
    };
    outlet.home.hand.report(vec![change]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_told_and_what_was_missed_is_told_later() {
    let outlet = Outlet::start(switches(1), |_| {}).await;
    let mut stream = Stream::open(&outlet, None).await;
    let hello = stream.next().await;
    assert_eq!(
        (&*hello.event, &hello.data["resumed"]),
        ("hello", &false.into())
    );
    report(&outlet, true).await;
    let told = stream.next_of("values").await;
    assert_eq!(told.data["id"], "switch-00000");
    assert_eq!(told.data["points"][0]["value"], true);
    assert_eq!(
        (&told.data["changed"], &told.data["points"][0]["source"]),
        (&true.into(), &"event".into())
    );
    // A second press is a second event.
    report(&outlet, true).await;
    let again = stream.next_of("values").await;
    assert_eq!(again.data["changed"], false);
    drop(stream);

    report(&outlet, false).await;
    eventually("the event to be there", || {
        let device = outlet
            .hub
            .device(&hearthgate_hub::DeviceRef::new("g", "switch-00000"));
        device.is_some_and(|device| device.point("switch_1").unwrap().value == Value::from(false))
    })
    .await;
    let mut stream = Stream::open(&outlet, Some(&again.id)).await;
    let hello = stream.next().await;
    assert_eq!(hello.data["resumed"], true);
    assert_eq!(
        hello.id, again.id,
        "the place is kept until something follows"
    );
    let missed = stream.next_of("values").await;
    assert_eq!(missed.data["points"][0]["value"], false);
    drop(stream);
    let log = outlet.get("/api/v1/log?limit=1000").await.json();
    let kinds = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["event"] == "values");
    assert_eq!(kinds.count(), 3);
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_between_listening_and_serving_is_told_too() {
    let mut outlet = Outlet::start(switches(1), |_| {}).await;
    let options = WebOptions::new(([127, 0, 0, 1], 0).into());
    let late = Web::bind(outlet.hub.clone(), options).await.unwrap();
    report(&outlet, true).await;
    eventually("the event to be there", || {
        let device = outlet
            .hub
            .device(&hearthgate_hub::DeviceRef::new("g", "switch-00000"));
        device.is_some_and(|device| device.point("switch_1").unwrap().value == Value::from(true))
    })
    .await;
    outlet.router = late.router.clone();
    tokio::spawn(late.run(outlet.stop.clone()));
    let deadline = Instant::now() + PATIENCE;
    while !outlet
        .get("/api/v1/log?limit=1000")
        .await
        .text
        .contains("\"values\"")
    {
        assert!(Instant::now() < deadline, "the event was missed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_it_cannot_be_resumed_all_is_to_be_read_again() {
    let outlet = Outlet::start(switches(1), |_| {}).await;
    for id in ["00000000.1", "nonsense"] {
        let mut stream = Stream::open(&outlet, Some(id)).await;
        assert_eq!(stream.next().await.data["resumed"], false);
        assert_eq!(stream.next().await.event, "reset");
    }
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_bounded_and_end_with_the_server() {
    let outlet = Outlet::start(switches(1), |_| {}).await;
    let mut open = Vec::new();
    for _ in 0..crate::app::STREAMS_MAX {
        open.push(Stream::open(&outlet, None).await);
    }
    outlet
        .get("/api/v1/events")
        .await
        .must_be(429, "too_many_streams");
    let mut last = open.pop().unwrap();
    drop(open);
    outlet.stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, async {
        while last.body.next().await.is_some() {}
    });
    ended.await.expect("the stream goes on after the end");
    outlet.stop().await;
}
