//! The rules of requests, responses and events (sections 3, 5 and 6).

use hearthgate_protocol::variants::Wire;
use hearthgate_protocol::websocket::{Opcode, close};
use hearthgate_protocol::wire::{
    RemoteError, Request, parse_devices, parse_schemas, parse_statuses,
};
use serde_json::json;
use tokio::time::Instant;

use super::{Bench, Tried, Trouble, Verdict, shown};
use crate::line::Fault;
use crate::session::Incoming;

/// A device that no gateway has.
const NOBODY: &str = "hearthgate-no-such-device";
/// Requests that are sent at once.
const PIPELINED: i64 = 64;

type Outcome = Result<String, RemoteError>;

impl Bench<'_> {
    /// Sends a text and waits for the answer with this id.
    async fn answer_to(&mut self, text: &str, id: i64) -> Result<Outcome, Trouble> {
        let deadline = self.deadline();
        let session = self.session().await?;
        session
            .send_json("a probe", text.as_bytes(), deadline)
            .await?;
        Ok(session.reply(id, deadline).await?)
    }

    /// Sends a text that must be refused with a code, under an id.
    async fn refused(
        &mut self,
        text: &str,
        id: i64,
        code: &str,
    ) -> Result<Option<String>, Trouble> {
        Ok(match self.answer_to(text, id).await? {
            Err(error) if error.code == code => None,
            other => Some(format!("{text} is answered with {}", shown(&other))),
        })
    }

    /// Tells that all of some texts are refused with a code under an id.
    async fn all_refused(&mut self, texts: &[String], id: i64, code: &str) -> Tried {
        for text in texts {
            if let Some(problem) = self.refused(text, id, code).await? {
                return Ok(Verdict::Fail(format!(
                    "{problem}, expected {code} with id {id}"
                )));
            }
        }
        Ok(Verdict::Pass(format!("{code} with id {id}")))
    }

    pub(super) async fn ids_repeat(&mut self) -> Tried {
        for id in [0, 1, -1, 1 << 53, i64::MAX, i64::MIN] {
            let text = json!({"id": id, "type": "get_devices"}).to_string();
            if let Err(error) = self.answer_to(&text, id).await? {
                return Ok(Verdict::Fail(format!("id {id} is refused with {error}")));
            }
        }
        Ok(Verdict::Pass("from -2^63 to 2^63-1".to_owned()))
    }

    pub(super) async fn order_kept(&mut self) -> Tried {
        let mut wanted = self.some();
        if wanted.len() < 2 {
            return Ok(Verdict::Skip("takes two devices".to_owned()));
        }
        wanted.reverse();
        self.come_as_asked(wanted, "in the order of the request")
            .await
    }

    pub(super) async fn doubled_device(&mut self) -> Tried {
        let Some(device) = self.some().into_iter().next() else {
            return Ok(Verdict::Skip("takes a device".to_owned()));
        };
        self.come_as_asked(vec![device.clone(), device], "named twice, there twice")
            .await
    }

    pub(super) async fn empty_array(&mut self) -> Tried {
        self.come_as_asked(Vec::new(), "an empty array for an empty array")
            .await
    }

    /// Asks for schemas and statuses of devices and compares what comes.
    async fn come_as_asked(
        &mut self,
        wanted: Vec<hearthgate_protocol::model::DeviceId>,
        rule: &str,
    ) -> Tried {
        let deadline = self.deadline();
        let session = self.session().await?;
        let schemas = session
            .ask(&Request::GetSchema(wanted.clone()), deadline)
            .await?;
        let statuses = session
            .ask(&Request::GetStatus(wanted.clone()), deadline)
            .await?;
        let came = |outcome: Outcome, ids: &dyn Fn(&str) -> Option<Vec<String>>| match outcome {
            Ok(result) => ids(&result).ok_or_else(|| "another shape".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        let schemas = came(schemas, &|result| {
            let entries = parse_schemas(result).ok()?;
            Some(entries.into_iter().map(|e| e.device.to_string()).collect())
        });
        let statuses = came(statuses, &|result| {
            let entries = parse_statuses(result).ok()?;
            Some(entries.into_iter().map(|e| e.device.to_string()).collect())
        });
        for (name, got) in [("get_schema", schemas), ("get_status", statuses)] {
            match got {
                Ok(got) if got == wanted => {}
                Ok(got) => {
                    let (got, wanted) = (got.join(", "), wanted.join(", "));
                    return Ok(Verdict::Fail(format!("{name} of [{wanted}] gives [{got}]")));
                }
                Err(problem) => return Ok(Verdict::Fail(format!("{name}: {problem}"))),
            }
        }
        Ok(Verdict::Pass(rule.to_owned()))
    }

    pub(super) async fn data_ignored(&mut self) -> Tried {
        let text = json!({"id": 5, "type": "get_devices", "data": {"any": [1]}}).to_string();
        self.lists_devices(&text, 5, "data of get_devices is ignored")
            .await
    }

    pub(super) async fn unknown_fields_ignored(&mut self) -> Tried {
        let text = json!({"zz": {"a": [null]}, "type": "get_devices", "id": 6, "t": 1}).to_string();
        self.lists_devices(&text, 6, "in any order, with fields nobody knows")
            .await
    }

    async fn lists_devices(&mut self, text: &str, id: i64, rule: &str) -> Tried {
        Ok(match self.answer_to(text, id).await? {
            Ok(result) if parse_devices(&result).is_ok() => Verdict::Pass(rule.to_owned()),
            other => Verdict::Fail(format!("{text} is answered with {}", shown(&other))),
        })
    }

    pub(super) async fn unknown_type(&mut self) -> Tried {
        let text = json!({"id": 7, "type": "get_weather", "data": []}).to_string();
        self.all_refused(&[text], 7, "unknown_type").await
    }

    pub(super) async fn unknown_device(&mut self) -> Tried {
        let known = self.some().into_iter().next().map(|id| id.to_string());
        let asked: Vec<String> = known.into_iter().chain([NOBODY.to_owned()]).collect();
        let ask = |kind: &str| json!({"id": 8, "type": kind, "data": asked}).to_string();
        self.all_refused(&[ask("get_schema"), ask("get_status")], 8, "unknown_device")
            .await
    }

    pub(super) async fn invalid_request_no_data(&mut self) -> Tried {
        let ask = |kind: &str| json!({"id": 9, "type": kind}).to_string();
        self.all_refused(
            &[ask("get_schema"), ask("get_status")],
            9,
            "invalid_request",
        )
        .await
    }

    pub(super) async fn invalid_request_shape(&mut self) -> Tried {
        let ask = |data: serde_json::Value| {
            json!({"id": 10, "type": "get_status", "data": data}).to_string()
        };
        let texts = [
            ask(json!({})),
            ask(json!("x")),
            ask(json!([1])),
            ask(json!([[]])),
        ];
        self.all_refused(&texts, 10, "invalid_request").await
    }

    pub(super) async fn id_not_integer(&mut self) -> Tried {
        let texts = [
            r#"{"id":"1","type":"get_devices"}"#,
            r#"{"id":1.0,"type":"get_devices"}"#,
            r#"{"id":true,"type":"get_devices"}"#,
            r#"{"type":"get_devices"}"#,
        ];
        self.all_refused(&texts.map(str::to_owned), 0, "invalid_request")
            .await
    }

    pub(super) async fn no_json_object(&mut self) -> Tried {
        let texts = ["[1,2]", "\"text\"", "{\"id\":1"];
        self.all_refused(&texts.map(str::to_owned), 0, "invalid_request")
            .await
    }

    pub(super) async fn trailing_comma(&mut self) -> Tried {
        let text = r#"{"id":1,"type":"get_devices",}"#.to_owned();
        self.all_refused(&[text], 0, "invalid_request").await
    }

    pub(super) async fn event_ignored(&mut self) -> Tried {
        let deadline = self.deadline();
        let session = self.session().await?;
        let event = json!({"id": 21, "type": "event", "event_type": "state_changed", "data": {}});
        let result = json!({"id": 21, "type": "result", "success": true});
        for text in [event, result] {
            session
                .send_json("a probe", text.to_string().as_bytes(), deadline)
                .await?;
        }
        let text = json!({"id": 22, "type": "get_devices"}).to_string();
        session
            .send_json("a probe", text.as_bytes(), deadline)
            .await?;
        loop {
            match session.next(deadline).await? {
                Incoming::Reply { id: 22, .. } => {
                    return Ok(Verdict::Pass(
                        "events and results of a client mean nothing".into(),
                    ));
                }
                Incoming::Reply { id, outcome } => {
                    let problem = format!("answered with {} and id {id}", shown(&outcome));
                    return Ok(Verdict::Fail(problem));
                }
                incoming => session.keep(incoming),
            }
        }
    }

    pub(super) async fn pipelined(&mut self) -> Tried {
        let deadline = self.deadline();
        let session = self.session().await?;
        let request = |id: i64| json!({"id": 1000 + id, "type": "get_devices"}).to_string();
        let batch: Vec<Vec<u8>> = (0..PIPELINED).map(|id| request(id).into_bytes()).collect();
        let started = Instant::now();
        session.send_batch("get_devices", &batch, deadline).await?;
        let mut open: std::collections::BTreeSet<i64> = (1000..1000 + PIPELINED).collect();
        while !open.is_empty() {
            match session.next(deadline).await {
                Ok(Incoming::Reply { id, .. }) => {
                    open.remove(&id);
                }
                Ok(incoming) => session.keep(incoming),
                Err(fault) => {
                    let left = open.len();
                    self.session = None;
                    return Ok(Verdict::Fail(format!(
                        "{fault}, with {left} of {PIPELINED} requests unanswered"
                    )));
                }
            }
        }
        let took = crate::doctor::time(started.elapsed());
        Ok(Verdict::Pass(format!(
            "{PIPELINED} requests at once, all answered in {took}"
        )))
    }

    pub(super) async fn fragments(&mut self) -> Tried {
        let deadline = self.deadline();
        let session = self.session().await?;
        let text = json!({"id": 31, "type": "get_devices", "pad": "x".repeat(100)}).to_string();
        let (opcode, payload) = session.seal(text.as_bytes());
        let third = payload.len().div_ceil(3).max(1);
        let parts: Vec<&[u8]> = payload.chunks(third).collect();
        let last = parts.len().saturating_sub(1);
        session
            .line
            .log()
            .sent("get_devices in fragments", text.len());
        for (index, part) in parts.iter().enumerate() {
            let opcode = if index == 0 {
                opcode
            } else {
                Opcode::Continuation
            };
            session
                .line
                .send(index == last, opcode, part.to_vec(), deadline)
                .await?;
            if index == 0 {
                session
                    .line
                    .send(true, Opcode::Ping, b"between".to_vec(), deadline)
                    .await?;
            }
        }
        Ok(match session.reply(31, deadline).await? {
            Ok(_) => Verdict::Pass("a message in three parts, a ping in between".to_owned()),
            Err(error) => Verdict::Fail(format!("refused with {error}")),
        })
    }

    pub(super) async fn text_where_binary(&mut self) -> Tried {
        let wire = self.reached.terms.wire;
        let other = match wire {
            Wire::Binary => Opcode::Text,
            Wire::Base64 | Wire::Plain => Opcode::Binary,
        };
        let payload = b"0123456789abcdef".to_vec();
        self.closes_with_policy(other, payload, "the other kind of message")
            .await
    }

    pub(super) async fn undecryptable_closed(&mut self) -> Tried {
        match self.reached.terms.wire {
            Wire::Binary => {
                self.closes_with_policy(Opcode::Binary, vec![7; 17], "17 bytes of ciphertext")
                    .await
            }
            Wire::Base64 => {
                self.closes_with_policy(Opcode::Text, b"****".to_vec(), "bad base64")
                    .await
            }
            Wire::Plain => Ok(Verdict::Skip("nothing is encrypted".to_owned())),
        }
    }

    /// Sends a frame that is none of the wire encoding, on a session of its own.
    async fn closes_with_policy(&mut self, opcode: Opcode, payload: Vec<u8>, what: &str) -> Tried {
        let deadline = self.deadline();
        let mut session = self.new_session().await?;
        session.line.log().sent(what, payload.len());
        session.line.send(true, opcode, payload, deadline).await?;
        loop {
            match session.next(deadline).await {
                Ok(Incoming::Reply { outcome, .. }) => {
                    let answer = shown(&outcome);
                    return Ok(Verdict::Fail(format!("{what} is answered with {answer}")));
                }
                Ok(_) => {}
                Err(Fault::Closed {
                    code: Some(close::POLICY),
                    ..
                }) => {
                    return Ok(Verdict::Pass(format!("{what}: closed with 1008")));
                }
                Err(Fault::Timeout) => {
                    return Ok(Verdict::Fail(format!(
                        "{what} is ignored, expected a close"
                    )));
                }
                Err(fault) => {
                    return Ok(Verdict::Warn(format!(
                        "{what}: {fault}, expected a close with 1008"
                    )));
                }
            }
        }
    }

    pub(super) async fn event_ids_count(&mut self) -> Tried {
        let deadline = self
            .deadline()
            .min(Instant::now() + self.options.event_timeout);
        let session = self.session().await?;
        while session.events.len() < 2 {
            match session.next(deadline).await {
                Ok(incoming) => session.keep(incoming),
                Err(Fault::Timeout) => break,
                Err(fault) => return Err(fault.into()),
            }
        }
        let ids: Vec<i64> = session.events.iter().map(|(event, _)| event.id).collect();
        let jump = ids.windows(2).find_map(|pair| match pair {
            [before, after] if *after != before.saturating_add(1) => Some((*before, *after)),
            _ => None,
        });
        Ok(match (ids.as_slice(), jump) {
            ([] | [_], _) => Verdict::Skip(format!("{} came, it takes two", ids.len())),
            (_, Some((before, after))) => Verdict::Warn(format!(
                "{after} follows {before}: gaps cannot be seen with this gateway, which is allowed"
            )),
            ([first, .., last], None) => Verdict::Pass(format!("{first} to {last}, one by one")),
        })
    }
}
