//! Requests, one at a time per client: the gateway, the same server in Node.js and in Python, and an
//! echo of constant bytes.
//!
//! What a client sends and gets is worked out once, by a real session: under one key the same request is
//! the same bytes, and so is its answer. From then on a client sends these bytes and compares what comes
//! with them, which checks every answer to the bit and costs no more than it does with the echo.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hearthgate_bench::figures::Times;
use hearthgate_protocol::connection::{ClientConfig, ClientConnection, ClientEvent};
use hearthgate_protocol::crypto::{ClientEntropy, DeviceKey};
use hearthgate_protocol::model::DeviceId;
use hearthgate_protocol::wire::{Request, parse_devices};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Outcome;
use crate::child::Running;
use crate::fanout::one_thread;
use crate::serve::KEY;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Gateway,
    Echo,
    Node,
    Python,
}

/// What a run showed.
pub(crate) struct Run {
    pub(crate) per_second: f64,
    pub(crate) times: Times,
}

/// A session whose next request and answer are known as bytes.
pub(crate) struct Frozen {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Frozen {
    /// Opens a session and asks once; `what` makes the request of the device ids.
    pub(crate) async fn open(
        address: SocketAddr,
        what: &dyn Fn(Vec<DeviceId>) -> Request,
    ) -> Outcome<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut random = [[0; 16]; 3];
        for bytes in &mut random {
            getrandom::fill(bytes).map_err(|fault| fault.to_string())?;
        }
        let [nonce, websocket_key, mask_seed] = random;
        let entropy = ClientEntropy {
            nonce,
            websocket_key,
            mask_seed,
        };
        let config = ClientConfig::new(DeviceKey::from_bytes(KEY), "localhost");
        let mut connection = ClientConnection::new(config, entropy, Instant::now());
        expect(&mut stream, &mut connection).await?;
        connection.send_request(1, &Request::GetDevices);
        let (listed, _) = expect(&mut stream, &mut connection).await?;
        let ids = parse_devices(&listed.unwrap_or_default())?;
        connection.send_request(2, &what(ids));
        let request = connection.output().to_vec();
        let (result, answer) = expect(&mut stream, &mut connection).await?;
        match result {
            Some(_) => Ok(Self {
                stream,
                request,
                answer,
            }),
            None => Err("no answer".into()),
        }
    }

    /// A connection to the echo, with as many bytes both ways.
    async fn echo(address: SocketAddr, like: &Self) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            request: like.request.clone(),
            answer: vec![b'x'; like.answer.len()],
        })
    }

    /// Asks, and compares the answer.
    pub(crate) async fn ask(&mut self, buffer: &mut Vec<u8>) -> Outcome<()> {
        self.stream.write_all(&self.request).await?;
        buffer.resize(self.answer.len(), 0);
        self.stream.read_exact(buffer).await?;
        match *buffer == self.answer {
            true => Ok(()),
            false => Err("another answer than the first time".into()),
        }
    }
}

/// Goes on until the session is open or an answer is there; returns its result and the bytes that came.
async fn expect(
    stream: &mut TcpStream,
    connection: &mut ClientConnection,
) -> Outcome<(Option<String>, Vec<u8>)> {
    let mut came = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let out = connection.take_output();
        stream.write_all(&out).await?;
        while let Some(event) = connection.poll_event(Instant::now()) {
            match event {
                ClientEvent::Authenticated => return Ok((None, came)),
                ClientEvent::Reply { outcome, .. } => {
                    let result = outcome.map_err(|error| error.to_string())?;
                    return Ok((Some(result), came));
                }
                ClientEvent::Ended(reason) => return Err(reason.to_string().into()),
                _ => {}
            }
        }
        let out = connection.take_output();
        stream.write_all(&out).await?;
        let count = stream.read(&mut buffer).await?;
        came.extend_from_slice(&buffer[..count]);
        match count {
            0 => connection.handle_eof(),
            _ => connection.handle_input(Instant::now(), &buffer[..count]),
        }
    }
}

/// Starts a rival with its devices.
pub(crate) fn start(server: Server, rivals: &Path) -> Outcome<Running> {
    let mut command = match server {
        Server::Gateway | Server::Echo => return Running::own(&["gateway", "1000"]),
        Server::Node => {
            let mut command = Command::new("node");
            command.arg(rivals.join("node/server.js"));
            command
        }
        Server::Python => {
            let mut command = Command::new(rivals.join("python/bin/python"));
            command.arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/rivals/python/server.py"
            ));
            command
        }
    };
    command.args(["--devices", "1000", "--prefix", "bench000000000"]);
    command.env("HEARTHGATE_KEY", std::str::from_utf8(&KEY)?);
    Running::start(command)
}

/// Asks for a while, `clients` beside each other.
pub(crate) fn run(
    server: Server,
    rivals: &Path,
    clients: usize,
    duration: Duration,
) -> Outcome<Run> {
    let running = start(server, rivals)?;
    let one_device = |ids: Vec<DeviceId>| Request::GetStatus(ids.into_iter().take(1).collect());
    one_thread()?.block_on(async {
        let mut sessions = Vec::new();
        for _ in 0..clients {
            sessions.push(Frozen::open(running.address(), &one_device).await?);
        }
        let mut echo = None;
        if server == Server::Echo {
            let like = &sessions[0];
            let (asked, answered) = (like.request.len(), like.answer.len());
            let started = Running::own(&["echo", &asked.to_string(), &answered.to_string()])?;
            let mut others = Vec::new();
            for _ in 0..clients {
                others.push(Frozen::echo(started.address(), like).await?);
            }
            sessions = others;
            echo = Some(started);
        }
        // Node.js compiles what runs often: nobody is measured cold.
        let mut buffer = Vec::new();
        let warm = Instant::now();
        while warm.elapsed() < duration / 2 {
            for session in &mut sessions {
                session.ask(&mut buffer).await?;
            }
        }
        let start = Instant::now();
        let local = tokio::task::LocalSet::new();
        let asking = local.run_until(async {
            let mut tasks = tokio::task::JoinSet::new();
            for mut session in sessions {
                tasks.spawn_local(async move {
                    let (mut times, mut buffer) = (Times::default(), Vec::new());
                    while start.elapsed() < duration {
                        let before = Instant::now();
                        session.ask(&mut buffer).await?;
                        times.add(before.elapsed());
                    }
                    Outcome::Ok(times)
                });
            }
            let mut times = Times::default();
            while let Some(ended) = tasks.join_next().await {
                times.merge(&ended??);
            }
            Outcome::Ok(times)
        });
        let times = asking.await?;
        drop(echo);
        Ok(Run {
            per_second: times.count() as f64 / start.elapsed().as_secs_f64(),
            times,
        })
    })
}
