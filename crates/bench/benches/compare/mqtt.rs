//! The least of MQTT 3.1.1 that a subscriber and a publisher of QoS 0 need, as lean as the other
//! sessions here, and Mosquitto itself.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::child::Running;
use crate::{Look, Outcome};

/// Starts Mosquitto on a free port, with its log off and nothing kept on disk.
pub(crate) fn mosquitto(folder: &std::path::Path) -> Outcome<Running> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = folder.join(format!("mosquitto-{}.conf", address.port()));
    std::fs::write(
        &config,
        format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nlog_dest none\npersistence false\n\
             max_queued_messages 0\nset_tcp_nodelay true\n",
            address.port()
        ),
    )?;
    let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];
    let program = program
        .iter()
        .find(|path| std::path::Path::new(path).exists());
    let child = Command::new(program.unwrap_or(&"mosquitto"))
        .arg("-c")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|fault| format!("cannot start mosquitto (apt-get install mosquitto): {fault}"))?;
    let running = Running::silent(child, address);
    let start = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        if start.elapsed() > Duration::from_secs(10) {
            return Err("mosquitto does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(running)
}

/// Returns the version that Mosquitto says it has.
pub(crate) fn version() -> String {
    let output = Command::new("/usr/sbin/mosquitto").arg("-h").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let line = text
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    line.trim_start_matches("mosquitto version ").to_owned()
}

/// A connection, as publisher or subscriber.
pub(crate) struct Mqtt {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Mqtt {
    pub(crate) async fn connect(address: SocketAddr, name: &str) -> Outcome<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut packet = vec![0x10, u8::try_from(12 + name.len())?];
        packet.extend_from_slice(b"\x00\x04MQTT\x04\x02\x00\x00");
        text(&mut packet, name);
        stream.write_all(&packet).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        if answer != [0x20, 2, 0, 0] {
            return Err("mosquitto refused the connection".into());
        }
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    pub(crate) async fn subscribe(&mut self, topic: &str) -> Outcome<()> {
        let mut packet = vec![0x82, u8::try_from(5 + topic.len())?, 0, 1];
        text(&mut packet, topic);
        packet.push(0);
        self.stream.write_all(&packet).await?;
        let mut answer = [0; 5];
        self.stream.read_exact(&mut answer).await?;
        match answer {
            [0x90, 3, 0, 1, 0] => Ok(()),
            _ => Err("mosquitto refused the subscription".into()),
        }
    }

    /// Shows the payload of each message that has come.
    pub(crate) fn take(&mut self, bytes: &[u8], look: Look<'_>) -> Outcome<()> {
        // Most reads end with a whole packet: then nothing is copied.
        if self.buffer.is_empty() {
            let used = packets(bytes, look)?;
            self.buffer.extend_from_slice(&bytes[used..]);
        } else {
            self.buffer.extend_from_slice(bytes);
            let used = packets(&self.buffer, look)?;
            self.buffer.drain(..used);
        }
        Ok(())
    }
}

/// Appends a message of QoS 0.
pub(crate) fn publish(out: &mut Vec<u8>, topic: &str, payload: &[u8]) {
    out.push(0x30);
    let mut length = 2 + topic.len() + payload.len();
    while length >= 128 {
        out.push((length % 128) as u8 | 128);
        length /= 128;
    }
    out.push(length as u8);
    text(out, topic);
    out.extend_from_slice(payload);
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Shows the payloads of whole packets and returns how many bytes these have.
fn packets(bytes: &[u8], look: Look<'_>) -> Outcome<usize> {
    let mut start = 0;
    loop {
        let rest = &bytes[start..];
        let (mut length, mut digits) = (0, 1);
        loop {
            let Some(byte) = rest.get(digits) else {
                return Ok(start);
            };
            length |= usize::from(byte & 127) << (7 * (digits - 1));
            digits += 1;
            if byte & 128 == 0 {
                break;
            }
        }
        let Some(body) = rest.get(digits..digits + length) else {
            return Ok(start);
        };
        if rest[0] & 0xf0 == 0x30 {
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let payload = body.get(2 + topic..);
            look(payload.ok_or_else(|| Error::from(ErrorKind::InvalidData))?);
        }
        start += digits + length;
    }
}
