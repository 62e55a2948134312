//! A gateway in memory that does what a test says, built from the protocol's own gateway role.

use std::sync::Arc;
use std::time::Duration;

use hearthgate_protocol::connection::{GatewayConfig, GatewayConnection, GatewayEvent};
use hearthgate_protocol::crypto::{DeviceKey, Nonce};
use hearthgate_protocol::error::Ended;
use hearthgate_protocol::model::{
    Change, DataPoint, Device, DeviceId, Home, Reading, Schema, Source, Stamp, Timestamp, Value,
};
use hearthgate_protocol::wire::{
    ErrorBody, ErrorCode, EventKind, Request, write_error, write_event, write_result_devices,
    write_result_schemas, write_result_statuses, write_success,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

use crate::{Client, ClientError, ClientOptions, Feed, FeedItem};

pub(super) const KEY: &str = "k9Xq2mPz7LwT4vRb";
pub(super) const OTHER_KEY: &str = "0000000000000000";

pub(super) fn key(text: &str) -> DeviceKey {
    DeviceKey::parse(text, Default::default()).unwrap()
}

pub(super) fn options() -> ClientOptions {
    ClientOptions::new("ws://gateway.test".parse().unwrap(), key(KEY))
}

/// Options of a client that asks for nothing by itself.
pub(super) fn without_mirror() -> ClientOptions {
    ClientOptions {
        mirror: false,
        ..options()
    }
}

/// A client and its gateway, both authenticated.
pub(super) async fn connected(options: ClientOptions) -> (Client, Feed, FakeGateway) {
    let (ours, mut gateway) = FakeGateway::new(GatewayConfig::new(key(KEY)));
    let (client, ()) = tokio::join!(Client::over(ours, true, options), gateway.accept());
    let (client, feed) = client.unwrap();
    (client, feed, gateway)
}

/// What a client gets from a gateway that is configured so.
pub(super) async fn connect_to(
    config: GatewayConfig,
    peer_is_loopback: bool,
    options: ClientOptions,
) -> (Result<(Client, Feed), ClientError>, FakeGateway) {
    let (ours, mut gateway) = FakeGateway::new(config);
    let outcome = tokio::join!(Client::over(ours, peer_is_loopback, options), async {
        if let GatewayEvent::AuthenticationFailed(_) = gateway.next().await {
            gateway.connection.reject();
            gateway.flush().await;
        }
    });
    (outcome.0, gateway)
}

pub(super) struct FakeGateway {
    pub(super) stream: DuplexStream,
    pub(super) connection: GatewayConnection,
    /// Whether it keeps all to itself, even pongs.
    pub(super) mute: bool,
}

impl FakeGateway {
    /// Returns the client's end of the stream and the gateway.
    pub(super) fn new(config: GatewayConfig) -> (DuplexStream, Self) {
        Self::with_buffer(config, 64 * 1024)
    }

    /// The same over a stream that holds so many bytes in each direction.
    pub(super) fn with_buffer(config: GatewayConfig, size: usize) -> (DuplexStream, Self) {
        let (ours, stream) = duplex(size);
        let connection =
            GatewayConnection::new(Arc::new(config), Nonce::new([7; 16]), crate::link::now());
        let gateway = Self {
            stream,
            connection,
            mute: false,
        };
        (ours, gateway)
    }

    pub(super) async fn accept(&mut self) {
        assert_eq!(self.next().await, GatewayEvent::Authenticated);
    }

    /// Returns the next thing that happens.
    pub(super) async fn next(&mut self) -> GatewayEvent {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let event = self.connection.poll_event(crate::link::now());
            self.flush().await;
            if let Some(event) = event {
                return event;
            }
            match self.stream.read(&mut buffer).await {
                Ok(count) if count > 0 => {
                    let bytes = &buffer[..count];
                    self.connection.handle_input(crate::link::now(), bytes);
                }
                _ if self.connection.is_ended() => return GatewayEvent::Ended(Ended::Lost),
                _ => self.connection.handle_eof(),
            }
        }
    }

    pub(super) async fn flush(&mut self) {
        let bytes = self.connection.take_output();
        if !self.mute && !bytes.is_empty() {
            // A client that has gone takes nothing more.
            let _ = self.stream.write_all(&bytes).await;
        }
    }

    pub(super) async fn request(&mut self) -> (i64, Request) {
        match self.next().await {
            GatewayEvent::Request { id, request } => (id, request),
            other => panic!("expected a request, got {other:?}"),
        }
    }

    /// Asserts that the client asks for nothing within a second.
    pub(super) async fn expect_quiet(&mut self) {
        let event = timeout(Duration::from_secs(1), self.next()).await;
        assert!(event.is_err(), "{event:?}");
    }

    /// Returns how the client ended the connection.
    pub(super) async fn ended(&mut self) -> Ended {
        loop {
            if let GatewayEvent::Ended(ended) = self.next().await {
                return ended;
            }
        }
    }

    pub(super) async fn send(&mut self, json: &str) {
        self.connection.send(json.as_bytes());
        self.flush().await;
    }

    pub(super) async fn reply(&mut self, id: i64, result: &str) {
        let json = format!(r#"{{"id":{id},"type":"result","success":true,"result":{result}}}"#);
        self.send(&json).await;
    }

    pub(super) async fn event(&mut self, id: i64, kind: EventKind) {
        let mut json = Vec::new();
        write_event(&mut json, id, &kind);
        self.connection.send(&json);
        self.flush().await;
    }

    /// Answers the next request as a gateway with this home does, and returns it.
    pub(super) async fn answer(&mut self, home: &Home) -> Request {
        let (id, request) = self.request().await;
        self.connection.send(&answer(home, id, &request));
        self.flush().await;
        request
    }

    /// Answers requests until there is none for a second; returns their types.
    pub(super) async fn answer_all(&mut self, home: &Home) -> Vec<&'static str> {
        let mut names = Vec::new();
        while let Ok(request) = timeout(Duration::from_secs(1), self.answer(home)).await {
            names.push(request.name());
        }
        names
    }
}

fn answer(home: &Home, id: i64, request: &Request) -> Vec<u8> {
    let mut out = Vec::new();
    let find = |ids: &[DeviceId]| -> Result<Vec<Device>, ErrorBody> {
        ids.iter()
            .map(|id| {
                let unknown =
                    || ErrorBody::new(ErrorCode::UnknownDevice, format!("no device {id}"));
                home.device(id.as_str()).cloned().ok_or_else(unknown)
            })
            .collect()
    };
    let outcome = match request {
        Request::GetDevices => {
            write_result_devices(&mut out, id, home.devices());
            Ok(())
        }
        Request::GetSchema(ids) => {
            find(ids).map(|devices| write_result_schemas(&mut out, id, &devices))
        }
        Request::GetStatus(ids) => {
            find(ids).map(|devices| write_result_statuses(&mut out, id, &devices))
        }
        Request::SetValue(_) => {
            write_success(&mut out, id);
            Ok(())
        }
    };
    if let Err(error) = outcome {
        out.clear();
        write_error(&mut out, id, &error);
    }
    out
}

/// A home of switches that are off.
pub(super) fn home(ids: &[&str]) -> Home {
    ids.iter().map(|id| switch(id, false)).collect()
}

pub(super) fn switch(id: &str, on: bool) -> Device {
    let stamp = Stamp {
        at: Timestamp(1),
        source: Source::Cache,
    };
    let point = || DataPoint::new("switch_1", "Boolean", Value::from("{}"));
    let schema = Schema::new("kg", vec![point()], vec![point()]);
    Device::new(id.into(), Arc::new(schema), true, [reading(on)], stamp)
}

pub(super) fn reading(on: bool) -> Reading {
    Reading::new("switch_1", Value::from(on))
}

/// Turns a switch, as its gateway knows it.
pub(super) fn turn(home: &mut Home, id: &str, on: bool) {
    let change = Change::State {
        device: id.into(),
        readings: vec![reading(on)],
    };
    let stamp = Stamp {
        at: Timestamp(2),
        source: Source::Event,
    };
    home.apply(&change, stamp);
}

pub(super) fn turned(id: &str, on: bool) -> EventKind {
    EventKind::StateChanged {
        device: id.into(),
        readings: vec![reading(on)],
    }
}

pub(super) fn registry(id: &str, state: i64) -> EventKind {
    EventKind::RegistryUpdated {
        device: id.into(),
        state,
    }
}

/// What the mirror shows, as `id=on`.
pub(super) fn shown(client: &Client) -> Vec<String> {
    client.mirror().devices().iter().map(show).collect()
}

pub(super) fn show(device: &Device) -> String {
    let on = device
        .point("switch_1")
        .map(|point| point.value.to_string());
    format!("{}={}", device.id(), on.unwrap_or_default())
}

/// All items of a feed until nothing comes for a while, in short.
pub(super) async fn items(feed: &mut Feed) -> Vec<String> {
    let mut items = Vec::new();
    while let Ok(Some(item)) = timeout(Duration::from_millis(100), feed.next()).await {
        items.push(match item {
            FeedItem::Init => "init".to_owned(),
            FeedItem::InitApply(device) => show(&device),
            FeedItem::InitDone => "done".to_owned(),
            FeedItem::Event { event, applied, .. } => format!("event {} {applied:?}", event.id),
            FeedItem::Upsert(device) => format!("upsert {}", show(&device)),
            FeedItem::Delete(id) => format!("delete {id}"),
            FeedItem::Missed { items } => format!("missed {items}"),
            FeedItem::Up => "up".to_owned(),
            FeedItem::Synced => "synced".to_owned(),
            FeedItem::Down(reason) => format!("down {:?}", reason.fault()),
        });
    }
    items
}
