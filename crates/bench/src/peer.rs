//! A session as lean as can be: no task, no mirror, no feed, one shared buffer to read into. What it
//! costs is taken from the gateway that is measured on the same machine.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use hearthgate_client::{Stream, secure};
use hearthgate_protocol::connection::{ClientConnection, ClientEvent};
use hearthgate_protocol::crypto::ClientEntropy;
use hearthgate_protocol::error::Ended;
use hearthgate_protocol::wire::Request;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::BenchError;
use crate::target::Target;

/// Bytes that one read takes at most.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// One authenticated session with a gateway.
#[derive(Debug)]
pub struct Peer {
    stream: Stream,
    connection: ClientConnection,
    gateway: String,
    next_id: i64,
}

impl Peer {
    /// Connects and does the handshake, within the target's time for it.
    ///
    /// # Errors
    /// Where that fails.
    pub async fn connect(target: &Target) -> Result<Self, BenchError> {
        let after = target.options.connect_timeout;
        timeout(after, Self::open(target))
            .await
            .map_err(|_| BenchError::Silent {
                gateway: target.name(),
                what: "handshake",
                after,
            })?
    }

    async fn open(target: &Target) -> Result<Self, BenchError> {
        let failed = |cause| BenchError::Connect {
            gateway: target.name(),
            cause,
        };
        let stream = TcpStream::connect(target.address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let stream = if target.endpoint().is_secure() {
            secure(stream, target.endpoint().host(), &target.options.trust)
                .await
                .map_err(|fault| BenchError::Tls {
                    gateway: target.name(),
                    fault,
                })?
        } else {
            Stream::Plain(stream)
        };
        let mut random = [[0; 16]; 3];
        getrandom::fill(random.as_flattened_mut()).map_err(BenchError::Random)?;
        let [nonce, websocket_key, mask_seed] = random;
        let entropy = ClientEntropy {
            nonce,
            websocket_key,
            mask_seed,
        };
        let mut peer = Self {
            stream,
            connection: ClientConnection::new(target.config(), entropy, Instant::now()),
            gateway: target.name(),
            next_id: 1,
        };
        loop {
            peer.flush().await?;
            match peer.connection.poll_event(Instant::now()) {
                Some(ClientEvent::Authenticated) => return Ok(peer),
                Some(event) => peer.check(event)?,
                None if !peer.connection.output().is_empty() => {}
                None => peer.read().await?,
            }
        }
    }

    /// Asks and waits for the answer, the JSON text of its `result`. Events that come in between are
    /// passed over.
    ///
    /// # Errors
    /// Where the gateway refuses, the session ends, or nothing comes in the time for requests.
    pub async fn request(
        &mut self,
        request: &Request,
        target: &Target,
    ) -> Result<String, BenchError> {
        let id = self.send(request);
        let after = target.options.request_timeout;
        let answer = async {
            self.flush().await?;
            loop {
                match self.connection.poll_event(Instant::now()) {
                    Some(ClientEvent::Reply { id: of, outcome }) if of == id => {
                        return outcome.map_err(|error| BenchError::Refused {
                            gateway: self.gateway.clone(),
                            error,
                        });
                    }
                    Some(event) => self.check(event)?,
                    None => self.read().await?,
                }
            }
        };
        let answer = timeout(after, answer).await;
        answer.map_err(|_| BenchError::Silent {
            gateway: target.name(),
            what: "answer",
            after,
        })?
    }

    /// Queues a request, to be written by [`Peer::flush`], and returns its id.
    pub fn send(&mut self, request: &Request) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        self.connection.send_request(id, request);
        id
    }

    /// Writes all that is queued.
    ///
    /// # Errors
    /// Where the session ends.
    pub async fn flush(&mut self) -> Result<(), BenchError> {
        while !self.connection.output().is_empty() {
            let written = self.stream.write(self.connection.output()).await;
            match written {
                Ok(count) if count > 0 => self.connection.advance_output(count),
                _ => return Err(self.ended(Ended::Lost)),
            }
        }
        self.stream
            .flush()
            .await
            .map_err(|_| self.ended(Ended::Lost))
    }

    /// Waits for bytes; what they hold is in [`Peer::take_json`].
    ///
    /// # Errors
    /// Where the session ended before.
    pub async fn receive(&mut self) -> Result<(), BenchError> {
        // What may be left to write are answers to pings.
        if !self.connection.output().is_empty() {
            self.flush().await?;
        }
        self.read().await
    }

    /// Shows each message that has come as JSON.
    ///
    /// # Errors
    /// Where the session ended.
    pub fn take_json(&mut self, look: &mut dyn FnMut(&[u8])) -> Result<(), BenchError> {
        while let Some(event) = self.connection.drain_json(look) {
            self.check(event)?;
        }
        Ok(())
    }

    /// Drops the session without a goodbye. A load that opens thousands would else leave as many ports
    /// waiting on this machine.
    pub fn abort(self) {
        if let Stream::Plain(stream) = &self.stream {
            // Where it does not work ports wait, no more.
            let _ = stream.set_zero_linger();
        }
    }

    /// Reads once; the connection keeps the clock of silence by it.
    async fn read(&mut self) -> Result<(), BenchError> {
        let Self {
            stream, connection, ..
        } = self;
        let read = poll_fn(|cx| poll_read(stream, connection, cx)).await;
        match read {
            Ok(count) if count > 0 => {}
            _ => self.connection.handle_eof(),
        }
        Ok(())
    }

    fn check(&self, event: ClientEvent) -> Result<(), BenchError> {
        match event {
            ClientEvent::Ended(reason) => Err(self.ended(reason)),
            _ => Ok(()),
        }
    }

    fn ended(&self, reason: Ended) -> BenchError {
        BenchError::Ended {
            gateway: self.gateway.clone(),
            reason,
        }
    }
}

fn poll_read(
    stream: &mut Stream,
    connection: &mut ClientConnection,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    INPUT.with_borrow_mut(|input| {
        let mut buffer = ReadBuf::new(input);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        let count = buffer.filled().len();
        if count > 0 {
            connection.handle_input(Instant::now(), buffer.filled());
        }
        Poll::Ready(Ok(count))
    })
}
