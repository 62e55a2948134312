//! One WebSocket to a gateway, frame by frame, so that each layer shows by itself.
//!
//! Input is an open TCP connection; frames go to `session` and come from it. `hearthgate_client` joins
//! the layers and hides what a diagnosis wants to see, which is why this stands beside it. Every wait
//! has a deadline.

use std::io;
use std::time::Duration;

use hearthgate_client::{Endpoint, Stream};
use hearthgate_protocol::crypto::Token;
use hearthgate_protocol::error::FrameFault;
use hearthgate_protocol::limits::{MESSAGE_MAX_BEFORE_AUTH, MESSAGE_MAX_CLIENT};
use hearthgate_protocol::websocket::{
    ClientUpgrade, Framer, FramingError, Header, Item, Opcode, UpgradeError, close,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::transcript::Transcript;

/// The buffer for reading.
const READ_BUFFER: usize = 16 * 1024;
/// The time that a goodbye may take.
const FAREWELL: Duration = Duration::from_millis(300);

/// Why there is nothing more to come from a connection, or nothing in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("nothing came in time")]
    Timeout,
    #[error("the connection was lost")]
    Lost,
    #[error("the gateway closed the connection with code {}{}", code.map_or_else(|| "none".to_owned(), |code| code.to_string()), if reason.is_empty() { String::new() } else { format!(" ({reason})") })]
    Closed { code: Option<u16>, reason: String },
    #[error("it breaks the WebSocket protocol: {0}")]
    Framing(#[from] FramingError),
    #[error("it sent {0}")]
    Frame(#[from] FrameFault),
    #[error("it breaks the protocol: {0}")]
    Message(String),
    #[error("the operating system gives no random bytes")]
    NoRandomness,
}

impl Fault {
    /// Returns the close code that the gateway gave, if it did.
    pub(crate) fn close_code(&self) -> Option<u16> {
        match self {
            Self::Closed { code, .. } => *code,
            _ => None,
        }
    }
}

/// Why there is no WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoUpgrade {
    /// Nothing came in time.
    Silent,
    /// The connection was closed without a whole answer.
    HungUp,
    /// Another answer.
    Answer(UpgradeError),
}

/// What came.
#[derive(Debug)]
pub(crate) enum Frame {
    Message { text: bool, payload: Vec<u8> },
    Pong,
}

/// A WebSocket.
#[derive(Debug)]
pub(crate) struct Line {
    stream: Stream,
    framer: Framer,
    buffer: Vec<u8>,
    log: Transcript,
}

impl Line {
    /// Asks for the WebSocket; with an access token in the older dialect.
    pub(crate) async fn upgrade(
        mut stream: Stream,
        endpoint: &Endpoint,
        token: Option<&Token>,
        deadline: Instant,
        log: &Transcript,
    ) -> Result<Self, NoUpgrade> {
        let hung_up = |_: io::Error| NoUpgrade::HungUp;
        let mut key = [0; 16];
        // A key that is not random works as well: it only keeps old proxies from caching.
        let _ = getrandom::fill(&mut key);
        let mut request = Vec::new();
        let (host, path) = (endpoint.authority(), endpoint.path());
        let mut upgrade = ClientUpgrade::start_with(&host, path, key, token, &mut request);
        log.sent("upgrade request", request.len());
        let exchange = async {
            stream.write_all(&request).await.map_err(hung_up)?;
            stream.flush().await.map_err(hung_up)?;
            let mut buffer = vec![0; READ_BUFFER];
            loop {
                let size = stream.read(&mut buffer).await.map_err(hung_up)?;
                if size == 0 {
                    return Err(match upgrade.unfinished() {
                        Some(refused) => NoUpgrade::Answer(refused),
                        None => NoUpgrade::HungUp,
                    });
                }
                log.received("upgrade response", size);
                let bytes = buffer.get(..size).unwrap_or_default();
                if let Some(rest) = upgrade.handle(bytes).map_err(NoUpgrade::Answer)? {
                    return Ok((rest, buffer));
                }
            }
        };
        let (rest, buffer) = timeout_at(deadline, exchange)
            .await
            .unwrap_or(Err(NoUpgrade::Silent))?;
        let mut line = Self {
            stream,
            framer: Framer::new(false, 0),
            buffer,
            log: log.clone(),
        };
        line.limit(MESSAGE_MAX_BEFORE_AUTH);
        line.framer.push(&rest);
        Ok(line)
    }

    /// Takes messages of the size that is allowed after the handshake.
    pub(crate) fn raise_limit(&mut self) {
        self.limit(MESSAGE_MAX_CLIENT);
    }

    pub(crate) fn log(&self) -> &Transcript {
        &self.log
    }

    /// Returns the next message or pong; pings are answered.
    pub(crate) async fn next(&mut self, deadline: Instant) -> Result<Frame, Fault> {
        loop {
            match self.framer.next_item()? {
                Some(Item::Message { text, payload }) => {
                    let payload = payload.to_vec();
                    return Ok(Frame::Message { text, payload });
                }
                Some(Item::Pong) => {
                    self.log.received("pong", 0);
                    return Ok(Frame::Pong);
                }
                Some(Item::Ping(content)) => {
                    self.log.received("ping", content.len());
                    self.send(true, Opcode::Pong, content, deadline).await?;
                }
                Some(Item::Close { code, reason }) => {
                    self.log.received("close", reason.len());
                    return Err(Fault::Closed { code, reason });
                }
                None => {
                    let read = timeout_at(deadline, self.stream.read(&mut self.buffer)).await;
                    let size = read.map_err(|_| Fault::Timeout)?.map_err(|_| Fault::Lost)?;
                    if size == 0 {
                        return Err(Fault::Lost);
                    }
                    self.framer
                        .push(self.buffer.get(..size).unwrap_or_default());
                }
            }
        }
    }

    /// Sends one frame, masked as a client's are.
    pub(crate) async fn send(
        &mut self,
        fin: bool,
        opcode: Opcode,
        payload: Vec<u8>,
        deadline: Instant,
    ) -> Result<(), Fault> {
        let mut bytes = Vec::with_capacity(payload.len() + Header::MAX);
        write_frame(&mut bytes, fin, opcode, payload)?;
        self.send_bytes(&bytes, deadline).await
    }

    /// Sends frames that are made already.
    pub(crate) async fn send_bytes(
        &mut self,
        bytes: &[u8],
        deadline: Instant,
    ) -> Result<(), Fault> {
        let write = async {
            self.stream.write_all(bytes).await?;
            // TLS may hold records back.
            self.stream.flush().await
        };
        timeout_at(deadline, write)
            .await
            .map_err(|_| Fault::Timeout)?
            .map_err(|_| Fault::Lost)
    }

    /// Closes with 1000 and waits a moment for the other side, so that it hears of it.
    pub(crate) async fn close(mut self) {
        let deadline = Instant::now() + FAREWELL;
        let mut payload = close::DONE.to_be_bytes().to_vec();
        payload.extend_from_slice(b"done");
        self.log.sent("close", 4);
        if self
            .send(true, Opcode::Close, payload, deadline)
            .await
            .is_ok()
        {
            let drain = async {
                while matches!(self.stream.read(&mut self.buffer).await, Ok(size) if size > 0) {}
            };
            // Who does not answer in time is left alone.
            let _ = timeout(FAREWELL, drain).await;
        }
    }

    fn limit(&mut self, json: usize) {
        // Base64 of the padded ciphertext is the longest way to travel.
        self.framer.set_limit((json + 16).div_ceil(3) * 4);
    }
}

/// Appends one frame with a mask of its own.
pub(crate) fn write_frame(
    out: &mut Vec<u8>,
    fin: bool,
    opcode: Opcode,
    mut payload: Vec<u8>,
) -> Result<(), Fault> {
    let mut mask = [0; 4];
    getrandom::fill(&mut mask).map_err(|_| Fault::NoRandomness)?;
    let header = Header {
        fin,
        opcode,
        mask: Some(mask),
        payload: u64::try_from(payload.len()).unwrap_or(u64::MAX),
    };
    header.write(out);
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    out.append(&mut payload);
    Ok(())
}
