//! The rules of upgrade and handshake (sections 3 and 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearthgate_protocol::websocket::{Opcode, close};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout_at;

use super::{Bench, Tried, Trouble, Verdict};
use crate::line::{Fault, Frame, Line, write_frame};
use crate::session::{self, Incoming, NoSession};

impl Bench<'_> {
    pub(super) async fn nonce_fresh(&mut self) -> Tried {
        let (one, first) = self.challenged().await?;
        let (two, second) = self.challenged().await?;
        one.close().await;
        two.close().await;
        Ok(match first.nonce == second.nonce {
            true => Verdict::Fail(
                "two connections got the same nonce: recorded sessions can be played back"
                    .to_owned(),
            ),
            false => Verdict::Pass("another nonce for each connection".to_owned()),
        })
    }

    pub(super) async fn upgrade_required(&mut self) -> Tried {
        let deadline = self.deadline();
        let mut stream = self.dialled().await?;
        let host = self.reached.endpoint.authority();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut head = [0; 64];
        let exchange = async {
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await?;
            stream.read(&mut head).await
        };
        let size = match timeout_at(deadline, exchange).await {
            Ok(Ok(size)) => size,
            Ok(Err(_)) => 0,
            Err(_) => return Err(Fault::Timeout.into()),
        };
        let text = String::from_utf8_lossy(head.get(..size).unwrap_or_default()).into_owned();
        let line = text.lines().next().unwrap_or_default().to_owned();
        Ok(match line.split(' ').nth(1) {
            Some("426") => Verdict::Pass("a plain GET gets 426".to_owned()),
            _ if line.is_empty() => {
                Verdict::Warn("a plain GET gets no answer, expected 426".into())
            }
            _ => Verdict::Warn(format!("a plain GET gets `{line}`, expected 426")),
        })
    }

    pub(super) async fn ping_in_handshake(&mut self) -> Tried {
        let deadline = self.deadline();
        let (mut line, challenge) = self.challenged().await?;
        line.send(true, Opcode::Ping, b"early".to_vec(), deadline)
            .await?;
        loop {
            match line.next(deadline).await {
                Ok(Frame::Pong) => break,
                Ok(Frame::Message { .. }) => {}
                Err(Fault::Timeout) => {
                    return Ok(Verdict::Warn("no pong during the handshake".to_owned()));
                }
                Err(fault) => {
                    return Ok(Verdict::Fail(format!(
                        "{fault} after a ping in the handshake"
                    )));
                }
            }
        }
        match session::prove(line, &challenge, &self.reached.terms, deadline).await {
            Ok(session) => {
                session.line.close().await;
                Ok(Verdict::Pass(
                    "a pong, and the handshake goes on".to_owned(),
                ))
            }
            Err(fault) => Ok(Verdict::Fail(format!("after the pong: {fault}"))),
        }
    }

    pub(super) async fn wrong_key_refused(&mut self) -> Tried {
        let (line, _) = self.challenged().await?;
        let auth = json!({"type": "auth", "data": {
            "nonce": STANDARD.encode([0x55; 16]),
            "hmac": STANDARD.encode([0xaa; 32]),
        }});
        self.refuses(line, &auth.to_string(), "a wrong proof").await
    }

    pub(super) async fn reflected_nonce_refused(&mut self) -> Tried {
        let (line, challenge) = self.challenged().await?;
        let answer = self.reached.terms.answer(&challenge)?;
        let ours = STANDARD.encode(answer.nonce);
        let theirs = STANDARD.encode(challenge.nonce);
        // Right in every other respect.
        let auth = String::from_utf8_lossy(&answer.json).replace(&ours, &theirs);
        self.refuses(line, &auth, "its own nonce").await
    }

    /// Sends an `auth` that must end the connection without an answer.
    async fn refuses(&self, mut line: Line, auth: &str, what: &str) -> Tried {
        let deadline = self.deadline();
        let terms = &self.reached.terms;
        let (opcode, payload) = terms.seal(&terms.key.bytes, auth.as_bytes());
        line.log().sent("auth, wrong on purpose", auth.len());
        line.send(true, opcode, payload, deadline).await?;
        loop {
            match line.next(deadline).await {
                Ok(Frame::Pong) => {}
                Ok(Frame::Message { .. }) => {
                    return Ok(Verdict::Fail(format!("{what} is answered with a message")));
                }
                Err(Fault::Closed {
                    code: Some(close::POLICY),
                    ..
                }) => {
                    return Ok(Verdict::Pass(format!("{what}: closed with 1008")));
                }
                Err(Fault::Timeout) => {
                    return Ok(Verdict::Warn(format!("{what}: not closed in time")));
                }
                Err(fault) => {
                    return Ok(Verdict::Warn(format!("{what}: {fault}, expected 1008")));
                }
            }
        }
    }

    /// A request right behind `auth` is answered after `auth_ok`, under the session key.
    pub(super) async fn early_request(&mut self) -> Tried {
        let deadline = self.deadline();
        let (mut line, challenge) = self.challenged().await?;
        let terms = &self.reached.terms;
        let answer = terms.answer(&challenge)?;
        let request = json!({"id": 77, "type": "get_devices"}).to_string();
        let mut bytes = Vec::new();
        let auth = terms.seal(&terms.key.bytes, &answer.json);
        let early = terms.seal(answer.session_key(), request.as_bytes());
        for (opcode, payload) in [auth, early] {
            write_frame(&mut bytes, true, opcode, payload)?;
        }
        line.log().sent("auth and get_devices", bytes.len());
        line.send_bytes(&bytes, deadline).await?;
        let session = session::complete(line, answer, terms, deadline).await;
        let mut session = match session {
            Ok(session) => session,
            Err(NoSession::Fault(fault) | NoSession::Refused(fault)) => {
                return Ok(Verdict::Warn(format!(
                    "{fault}: our client waits for auth_ok"
                )));
            }
            Err(fault) => return Err(Trouble::Connect(fault.to_string())),
        };
        loop {
            match session.next(deadline).await {
                Ok(Incoming::Reply { id: 77, .. }) => {
                    self.session.get_or_insert(session);
                    return Ok(Verdict::Pass(
                        "a request right behind auth is answered".to_owned(),
                    ));
                }
                Ok(incoming) => session.keep(incoming),
                Err(fault) => {
                    return Ok(Verdict::Warn(format!(
                        "a request right behind auth: {fault}; our client waits for auth_ok"
                    )));
                }
            }
        }
    }
}
