//! The least that a fan-out can cost: a loop over blocking sockets, one key and one cipher per session,
//! events encoded once, one write per session for whatever has come. No handshake, no answers, no slow
//! sessions, nobody who leaves.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;

use hearthgate_protocol::crypto::{Decryptor, Encryptor};
use hearthgate_protocol::model::{Reading, Value};
use hearthgate_protocol::variants::Padding;
use hearthgate_protocol::websocket::{Framer, Header, Item, Opcode};
use hearthgate_protocol::wire::{EventKind, write_event};

use crate::serve::{CODE, REPORT_BYTES, device_id, monotonic};
use crate::{Look, Outcome};

/// Serves until the process ends: sessions on one port, who says what to send on the other.
pub(crate) fn serve_fan_out() -> Outcome<()> {
    static SESSIONS: Mutex<Vec<(TcpStream, Encryptor)>> = Mutex::new(Vec::new());
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let control = TcpListener::bind("127.0.0.1:0")?;
    println!(
        "listening {} {}",
        listener.local_addr()?,
        control.local_addr()?
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut key = [0; 16];
            if let Ok(mut stream) = stream
                && stream.set_nodelay(true).is_ok()
                && stream.read_exact(&mut key).is_ok()
                && stream.write_all(b"!").is_ok()
                && let Ok(mut sessions) = SESSIONS.lock()
            {
                sessions.push((stream, Encryptor::new(&key, Padding::Pkcs7)));
            }
        }
    });
    let mut id = 0;
    for stream in control.incoming() {
        let mut stream = stream?;
        let mut buffer = vec![0; 256 * REPORT_BYTES];
        let (mut have, mut out, mut device) = (0, Vec::new(), 0);
        loop {
            let count = stream.read(&mut buffer[have..])?;
            if count == 0 {
                break;
            }
            have += count;
            let reports = have / REPORT_BYTES;
            buffer.copy_within(reports * REPORT_BYTES..have, 0);
            have -= reports * REPORT_BYTES;
            let events: Vec<Vec<u8>> = (0..reports)
                .map(|_| {
                    id += 1;
                    device = (device + 1) % 1000;
                    event(id, device)
                })
                .collect();
            let sessions = SESSIONS.lock().map_err(|_| "a session's thread failed")?;
            for (stream, cipher) in sessions.iter() {
                out.clear();
                for json in &events {
                    let header = Header {
                        fin: true,
                        opcode: Opcode::Binary,
                        mask: None,
                        payload: cipher.encrypted_len(json.len()) as u64,
                    };
                    header.write(&mut out);
                    let start = out.len();
                    out.extend_from_slice(json);
                    cipher.encrypt_tail(&mut out, start);
                }
                // Whoever left gets no more.
                let _ = (&*stream).write_all(&out);
            }
        }
    }
    Ok(())
}

/// Returns an event as the gateway makes it.
pub(crate) fn event(id: i64, device: usize) -> Vec<u8> {
    let mut json = Vec::new();
    let kind = EventKind::StateChanged {
        device: device_id(device),
        readings: vec![Reading::new(CODE, Value::from(monotonic()))],
    };
    write_event(&mut json, id, &kind);
    json
}

/// A session with the loop.
pub(crate) struct RawSession {
    pub(crate) stream: tokio::net::TcpStream,
    framer: Framer,
    cipher: Decryptor,
}

impl RawSession {
    pub(crate) async fn connect(address: SocketAddr, number: usize) -> Outcome<Self> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut key = [7; 16];
        key[..8].copy_from_slice(&(number as u64).to_be_bytes());
        stream.write_all(&key).await?;
        stream.read_u8().await?;
        Ok(Self {
            stream,
            framer: Framer::new(false, 1 << 20),
            cipher: Decryptor::new(&key, Padding::Pkcs7),
        })
    }

    /// Opens what has come.
    pub(crate) fn take(&mut self, bytes: &[u8], look: Look<'_>) -> Outcome<()> {
        self.framer.push(bytes);
        while let Some(item) = self.framer.next_item()? {
            if let Item::Message { payload, .. } = item {
                look(self.cipher.decrypt(payload)?);
            }
        }
        Ok(())
    }
}
