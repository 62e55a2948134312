//! A third-party system for tests, over any stream. Also used by the tests over TCP.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Instant;

use hearthgate_protocol::connection::{ClientConfig, ClientConnection, ClientEvent};
use hearthgate_protocol::crypto::{ClientEntropy, DeviceKey};
use hearthgate_protocol::error::Ended;
use hearthgate_protocol::variants::KeyForm;
use hearthgate_protocol::wire::{Event, RemoteError, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The device key of gateways in tests.
pub(crate) const KEY: &str = "k9Xq2mPz7LwT4vRb";

/// A client that does nothing on its own except for the handshake and answers to pings.
pub(crate) struct Peer<S> {
    stream: S,
    connection: ClientConnection,
    /// Whether it writes nothing any more.
    pub(crate) mute: bool,
    /// What it read last.
    pub(crate) last_read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) fn new(stream: S, key: &str) -> Self {
        let key = DeviceKey::parse(key, KeyForm::Ascii).unwrap();
        let random = || fastrand::u128(1..).to_le_bytes();
        let entropy = ClientEntropy {
            nonce: random(),
            websocket_key: random(),
            mask_seed: random(),
        };
        Self {
            stream,
            connection: ClientConnection::new(ClientConfig::new(key, "gateway"), entropy, now()),
            mute: false,
            last_read: Vec::new(),
        }
    }

    /// Does the handshake with the right key.
    pub(crate) async fn connected(stream: S) -> Self {
        let mut peer = Self::new(stream, KEY);
        assert_eq!(peer.next().await, ClientEvent::Authenticated);
        peer
    }

    /// Queues a request, which goes out while the peer waits for something.
    pub(crate) fn request(&mut self, id: i64, request: &Request) {
        self.connection.send_request(id, request);
    }

    /// Sends a request and returns its answer; there must be nothing before it but events.
    pub(crate) async fn ask(&mut self, id: i64, request: &Request) -> Result<String, RemoteError> {
        self.request(id, request);
        let (got, outcome) = self.reply().await;
        assert_eq!(got, id);
        outcome
    }

    /// Waits for the next answer, passing over events.
    pub(crate) async fn reply(&mut self) -> (i64, Result<String, RemoteError>) {
        loop {
            match self.next().await {
                ClientEvent::Reply { id, outcome } => return (id, outcome),
                ClientEvent::Event { .. } => {}
                other => panic!("expected an answer, got {other:?}"),
            }
        }
    }

    /// Waits for the next message, which must be an event.
    pub(crate) async fn event(&mut self) -> Event {
        match self.next().await {
            ClientEvent::Event { event, .. } => event,
            other => panic!("expected an event, got {other:?}"),
        }
    }

    /// Waits for the end, passing over everything else.
    pub(crate) async fn ended(&mut self) -> Ended {
        loop {
            if let ClientEvent::Ended(ended) = self.next().await {
                return ended;
            }
        }
    }

    /// Waits for the close code, passing over everything else.
    pub(crate) async fn close_code(&mut self) -> u16 {
        match self.ended().await {
            Ended::Peer {
                code: Some(code), ..
            } => code,
            other => panic!("expected a close code, got {other:?}"),
        }
    }

    /// Waits for whatever comes next.
    pub(crate) async fn next(&mut self) -> ClientEvent {
        loop {
            if let Some(event) = self.connection.poll_event(now()) {
                return event;
            }
            self.exchange().await;
        }
    }

    /// Writes what the stream takes and waits until something was read.
    async fn exchange(&mut self) {
        poll_fn(|cx| {
            while !self.mute && !self.connection.output().is_empty() {
                let output = self.connection.output();
                match Pin::new(&mut self.stream).poll_write(cx, output) {
                    Poll::Ready(Ok(written)) if written > 0 => {
                        self.connection.advance_output(written);
                    }
                    Poll::Ready(_) => self.mute = true,
                    Poll::Pending => break,
                }
            }
            let mut bytes = vec![0; 16 * 1024];
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    self.last_read = buffer.filled().to_vec();
                    self.connection.handle_input(now(), &self.last_read);
                }
                _ => self.connection.handle_eof(),
            }
            Poll::Ready(())
        })
        .await;
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
