//! A gateway that misbehaves in one respect, made of the protocol's parts.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearthgate_protocol::crypto::{Decryptor, DeviceKey, Encryptor, Nonce, prove};
use hearthgate_protocol::variants::{KeyForm, Padding, Proof, Variants};
use hearthgate_protocol::websocket::{Framer, Header, Item, Opcode, ServerUpgrade};
use hearthgate_protocol::wire::{FromClient, Request, decode_from_client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{KEY, impostor};

/// What the gateway does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// No first message.
    Mute,
    /// Closes with this code instead of the first message.
    CloseFirst(u16),
    /// Its first message is something else.
    OtherFirst,
    /// Its proof is random.
    WrongProof,
    /// It takes any proof and proves itself by SHA-256.
    OtherProof,
    /// It never answers a proof.
    SilentAtProof,
    /// Closes with this code instead of `auth_ok`.
    CloseAtProof(u16),
    /// It never answers this request.
    SilentAt(&'static str),
    /// It answers this request with an error.
    Refuses(&'static str),
    /// It answers this request with a number.
    Nonsense(&'static str),
    /// It hangs up at this request.
    HangsUpAt(&'static str),
    /// It answers no pings.
    NoPong,
    /// Its one device is listed twice and has a schema full of oddities.
    Odd,
}

const GATEWAY_NONCE: [u8; 16] = [9; 16];

/// Serves one device, misbehaving, until the runtime ends.
pub(crate) async fn rogue(fault: Fault) -> SocketAddr {
    impostor(move |stream| async move {
        // Whoever hangs up has seen enough.
        let _ = Rogue::serve(stream, fault).await;
    })
    .await
}

struct Rogue {
    stream: TcpStream,
    framer: Framer,
    key: [u8; 16],
    fault: Fault,
}

impl Rogue {
    async fn serve(mut stream: TcpStream, fault: Fault) -> Option<()> {
        let mut upgrade = ServerUpgrade::default();
        let mut buffer = [0; 4096];
        let rest = loop {
            let size = stream
                .read(&mut buffer)
                .await
                .ok()
                .filter(|size| *size > 0)?;
            let mut out = Vec::new();
            let upgraded = upgrade.handle(&buffer[..size], &mut out).ok()?;
            stream.write_all(&out).await.ok()?;
            if let Some((_, rest)) = upgraded {
                break rest;
            }
        };
        let mut framer = Framer::new(true, 1 << 20);
        framer.push(&rest);
        let key = KEY.as_bytes().try_into().unwrap();
        let mut rogue = Self {
            stream,
            framer,
            key,
            fault,
        };
        rogue.handshake().await?;
        loop {
            let json = rogue.receive().await?;
            rogue.answer(&json).await?;
        }
    }

    async fn handshake(&mut self) -> Option<()> {
        let hello =
            json!({"type": "auth_required", "data": {"nonce": STANDARD.encode(GATEWAY_NONCE)}});
        match self.fault {
            Fault::Mute => self.wait_for_ever().await?,
            Fault::CloseFirst(code) => self.close(code).await?,
            Fault::OtherFirst => self.send(json!({"type": "hello"})).await?,
            _ => self.send(hello).await?,
        }
        let auth: Value = serde_json::from_slice(&self.receive().await?).ok()?;
        let nonce = auth["data"]["nonce"].as_str()?.to_owned();
        let nonce: [u8; 16] = STANDARD.decode(nonce).ok()?.try_into().ok()?;
        let device = DeviceKey::parse(KEY, KeyForm::Ascii).unwrap();
        let mut variants = Variants::default();
        let hmac = match self.fault {
            Fault::SilentAtProof => return self.wait_for_ever().await,
            Fault::CloseAtProof(code) => return self.close(code).await,
            Fault::WrongProof => STANDARD.encode([1; 32]),
            Fault::OtherProof => {
                variants.proof = Proof::Sha256;
                prove(&device, &Nonce::new(nonce), variants).to_base64()
            }
            _ => prove(&device, &Nonce::new(nonce), variants).to_base64(),
        };
        self.send(json!({"type": "auth_ok", "data": {"hmac": hmac}}))
            .await?;
        self.key = std::array::from_fn(|index| GATEWAY_NONCE[index] ^ nonce[index]);
        Some(())
    }

    async fn answer(&mut self, json: &[u8]) -> Option<()> {
        let FromClient::Request { id, request } = decode_from_client(json) else {
            return Some(());
        };
        let name = request.name();
        let odd = self.fault == Fault::Odd;
        let result = match request {
            Request::GetDevices if odd => json!(["d1", "d1"]),
            Request::GetDevices => json!(["d1"]),
            Request::GetSchema(_) if odd => json!([{
                "devid": "d1", "category": "", "function": [{"code": "a", "type": "Colour", "values": "{}"}],
                "status": [{"code": "b", "type": "Integer", "values": "{\"min\":\"5\",\"max\":1}"}],
            }]),
            Request::GetSchema(_) => json!([{
                "devid": "d1", "category": "kg", "function": [],
                "status": [{"code": "b", "type": "Boolean", "values": "{}"}],
            }]),
            Request::GetStatus(_) => json!([{
                "devid": "d1", "online": !odd, "value": [{"k": "b", "v": !odd}],
            }]),
            Request::SetValue(_) => Value::Null,
        };
        let good = json!({"id": id, "type": "result", "success": true, "result": result});
        match self.fault {
            Fault::SilentAt(at) if at == name => Some(()),
            Fault::HangsUpAt(at) if at == name => None,
            Fault::Nonsense(at) if at == name => {
                self.send(json!({"id": id, "type": "result", "success": true, "result": 7}))
                    .await
            }
            Fault::Refuses(at) if at == name => {
                let error = json!({"code": "busy", "message": "later"});
                self.send(json!({"id": id, "type": "result", "success": false, "error": error}))
                    .await
            }
            _ => self.send(good).await,
        }
    }

    /// Returns the text of the next message.
    async fn receive(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; 4096];
        loop {
            match self.framer.next_item().ok()? {
                Some(Item::Message { payload, .. }) => {
                    let decryptor = Decryptor::new(&self.key, Padding::Pkcs7);
                    return Some(decryptor.decrypt(payload).ok()?.to_vec());
                }
                Some(Item::Ping(content)) if self.fault != Fault::NoPong => {
                    self.frame(Opcode::Pong, &content).await?;
                }
                Some(Item::Close { .. }) => return None,
                Some(_) => {}
                None => {
                    let size = self.stream.read(&mut buffer).await.ok()?;
                    if size == 0 {
                        return None;
                    }
                    self.framer.push(&buffer[..size]);
                }
            }
        }
    }

    async fn send(&mut self, message: Value) -> Option<()> {
        let mut payload = message.to_string().into_bytes();
        Encryptor::new(&self.key, Padding::Pkcs7).encrypt_tail(&mut payload, 0);
        self.frame(Opcode::Binary, &payload).await
    }

    /// Closes, and ends.
    async fn close(&mut self, code: u16) -> Option<()> {
        self.frame(Opcode::Close, &code.to_be_bytes()).await?;
        None
    }

    async fn frame(&mut self, opcode: Opcode, payload: &[u8]) -> Option<()> {
        let mut bytes = Vec::new();
        let header = Header {
            fin: true,
            opcode,
            mask: None,
            payload: payload.len() as u64,
        };
        header.write(&mut bytes);
        bytes.extend_from_slice(payload);
        self.stream.write_all(&bytes).await.ok()
    }

    /// Takes everything and says nothing, until the other side ends it.
    async fn wait_for_ever(&mut self) -> Option<()> {
        let mut buffer = [0; 4096];
        while self.stream.read(&mut buffer).await.ok()? > 0 {}
        None
    }
}
