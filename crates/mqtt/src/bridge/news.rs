//! What the broker says: that it is there or not, what it keeps, other hubs, Home Assistant's birth.
//!
//! Input are the news of the connection; output are changes of the stage, and whoever is responsible for
//! a message is called.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::early::Call;
use super::render::put;
use super::{Bridge, LONGEST_WAIT, LOOK, Later, Look, MqttError, PUSHED_OUT, RIVAL, Stage};
use crate::broker::{BrokerError, Message, News, Order, Publish};
use crate::outbox::Item;
use crate::topics::Meaning;

/// Home Assistants of many hubs start at the same moment; the announcements are spread over this time.
const JITTER: Duration = Duration::from_secs(2);

/// What a hub says of itself, in `bridge/info`, `bridge/probe` and `bridge/presence`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rival {
    /// Which hub, for as long as its state folder lives.
    pub(super) hub: String,
    /// Which run of it.
    pub(super) instance: String,
    /// Since when, in milliseconds since the Unix epoch.
    pub(super) started: i64,
    version: String,
    client_id: String,
    /// Whom it answers.
    to: String,
}

impl Bridge {
    pub(super) fn handle_news(&mut self, news: Option<News>) -> Result<(), MqttError> {
        match news {
            Some(News::Up) => self.handle_up(),
            Some(News::Message(message)) => return self.handle_message(&message),
            Some(News::Down(error)) => return self.handle_down(Some(&error)),
            None => return self.handle_down(None),
        }
        Ok(())
    }

    fn handle_up(&mut self) {
        let broker = &self.place.broker;
        tracing::info!(
            "connected to the broker {broker} (MQTT {})",
            self.options.version
        );
        self.told_down = false;
        self.leftovers.begin();
        // Commands from now on, and never again: a moment in which they are not listened to is one in which
        // they get lost, and one in which two filters take them may bring them twice.
        self.order(Order::Subscribe(self.topics.subscriptions()));
        self.order(Order::Look(self.looked_at()));
        // Comes back behind all that the broker keeps.
        let probe = self.own_words(None);
        self.order(Order::Publish(self.words("probe", &probe)));
        self.stage = Stage::Looking(Look {
            until: Instant::now() + LOOK,
            complete: false,
            rival: None,
        });
    }

    fn handle_down(&mut self, error: Option<&BrokerError>) -> Result<(), MqttError> {
        self.link = None;
        self.outbox.forget();
        self.early.forget();
        self.handle_pushed_out()?;
        let wait = self.wait.mul_f64(0.75 + 0.5 * fastrand::f64());
        self.stage = Stage::Away {
            until: Instant::now() + wait,
        };
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        let Some(error) = error else { return Ok(()) };
        if let BrokerError::TakenOver { client_id, .. } = error
            && self.was_ready
        {
            return Err(MqttError::Rival {
                root: self.place.root.clone(),
                broker: self.place.broker.clone(),
                who: "it took our place".to_owned(),
                same_id: Some(client_id.clone()),
            });
        }
        if self.told_down {
            tracing::debug!("{error}");
        } else {
            tracing::warn!("{error}; connecting again until it succeeds");
            self.told_down = true;
        }
        Ok(())
    }

    /// Gives way where a hub that was here before has the same client id: the broker lets the one push the
    /// other out for ever, and not all say so (3.1.1 cannot).
    fn handle_pushed_out(&mut self) -> Result<(), MqttError> {
        let Stage::Looking(look) = &self.stage else {
            return Ok(());
        };
        let same_id =
            |rival: &&Rival| rival.client_id == self.client_id && rival.hub != self.memory.hub();
        let Some(rival) = look
            .rival
            .as_ref()
            .filter(same_id)
            .filter(|_| !self.was_ready)
        else {
            return Ok(());
        };
        if self.pushed_out + 1 >= PUSHED_OUT {
            return Err(self.rival(rival));
        }
        self.pushed_out += 1;
        Ok(())
    }

    fn handle_message(&mut self, message: &Message) -> Result<(), MqttError> {
        if message.topic == self.topics.birth() {
            if !message.retained && &message.payload[..] == b"online" && self.is_ready() {
                tracing::info!("Home Assistant has started: announcing everything");
                self.do_later(JITTER.mul_f64(fastrand::f64()), Later::Everything);
            }
            return Ok(());
        }
        let meaning = self.topics.meaning(&message.topic);
        match meaning {
            Some(Meaning::Probe) => return self.handle_probe(message),
            Some(Meaning::Presence) => return self.handle_presence(message),
            Some(Meaning::BridgeInfo) if !message.payload.is_empty() => {
                return self.handle_info(message);
            }
            // The last will of a connection that was given up for dead.
            Some(Meaning::BridgeState)
                if !message.retained && self.is_ready() && &message.payload[..] == b"offline" =>
            {
                self.outbox.requeue(Item::HubOnline);
                return Ok(());
            }
            _ => {}
        }
        match meaning {
            Some(Meaning::Set(..) | Meaning::Request(_)) if message.retained => {
                let topic = &message.topic;
                tracing::warn!(
                    "{topic} is retained at the broker: not carried out, commands are not to be retained"
                );
            }
            Some(Meaning::Set(device, key)) => self.handle_call(Call::Set(device, key), message),
            Some(Meaning::Request(what)) => self.handle_call(Call::Request(what), message),
            _ if message.retained && matches!(self.stage, Stage::Looking(_)) => {
                let earlier = self.earlier.iter().map(|(_, topics)| topics);
                self.leftovers.find(message, &self.topics, earlier);
            }
            _ => {}
        }
        Ok(())
    }

    /// Carries out what is asked for, once everything may be said.
    fn handle_call(&mut self, call: Call, message: &Message) {
        if !self.is_ready() {
            self.early.keep(Instant::now(), call, message);
            return;
        }
        match call {
            Call::Set(device, key) => self.handle_set(device, key, message),
            Call::Request(what) => self.handle_request(&what, message),
        }
    }

    /// Carries out or refuses what was asked for too early.
    pub(super) fn carry_out_early(&mut self) {
        for (call, message, refusal) in self.early.take(Instant::now()) {
            match (call, refusal) {
                (call, None) => self.handle_call(call, &message),
                (Call::Set(device, key), Some(refusal)) => {
                    self.refuse_set(device, key, &message, refusal);
                }
                (Call::Request(what), Some(refusal)) => {
                    self.refuse_request(&what, &message, refusal);
                }
            }
        }
    }

    /// Ours comes back when all is there; another hub asks whether there is one.
    fn handle_probe(&mut self, message: &Message) -> Result<(), MqttError> {
        let Some(who) = words_of(message) else {
            return Ok(());
        };
        let is_own = who.instance == self.instance;
        match &mut self.stage {
            Stage::Looking(look) if is_own => {
                look.complete = true;
                let own = |rival: &Rival| rival.hub == self.memory.hub();
                match &look.rival {
                    None => self.become_ready(),
                    // An earlier run of this very hub, whose lock we hold.
                    Some(rival) if own(rival) && self.options.state.is_some() => {
                        self.become_ready();
                    }
                    Some(_) => look.until = Instant::now() + RIVAL,
                }
                Ok(())
            }
            // Who asks first was first; the broker's order is the same for both.
            Stage::Looking(look) if !look.complete => {
                look.rival = Some(who);
                Ok(())
            }
            Stage::Looking(_) | Stage::Ready if !is_own => {
                self.answer_rival(&who);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn handle_presence(&mut self, message: &Message) -> Result<(), MqttError> {
        match words_of(message) {
            Some(who) if who.to == self.instance => Err(self.rival(&who)),
            _ => Ok(()),
        }
    }

    /// Sees that another hub is, or was, here.
    fn handle_info(&mut self, message: &Message) -> Result<(), MqttError> {
        let Some(who) = words_of(message).filter(|who| who.instance != self.instance) else {
            return Ok(());
        };
        match &mut self.stage {
            Stage::Looking(_) if self.was_ready && who.started > self.started => {
                // It came after us and pushed us out.
                return Err(self.rival(&who));
            }
            Stage::Looking(look) => look.rival = Some(who),
            Stage::Ready if !message.retained => {
                if who.started > self.started {
                    self.answer_rival(&who);
                    self.outbox.push(Item::HubInfo);
                } else {
                    return Err(self.rival(&who));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn answer_rival(&mut self, who: &Rival) {
        let root = self.topics.root();
        tracing::warn!("another hub wants the topic root `{root}`: it is told that there is one");
        let words = self.own_words(Some(&who.instance));
        self.order(Order::Publish(self.words("presence", &words)));
    }

    fn rival(&self, who: &Rival) -> MqttError {
        let same_id = Some(who.client_id.clone()).filter(|id| *id == self.client_id);
        MqttError::Rival {
            root: self.place.root.clone(),
            broker: self.place.broker.clone(),
            who: format!(
                "hub {} of version {}, client id {}",
                who.hub, who.version, who.client_id
            ),
            same_id,
        }
    }

    /// What this hub says of itself.
    pub(super) fn own_words(&self, to: Option<&str>) -> serde_json::Value {
        let mut words = json!({
            "hub": self.memory.hub(),
            "instance": self.instance,
            "started": self.started,
            "version": self.options.program_version,
            "client_id": self.client_id,
        });
        if let Some(to) = to {
            put(&mut words, "to", json!(to));
        }
        words
    }

    fn words(&self, topic: &str, words: &serde_json::Value) -> Publish {
        Publish {
            topic: self.topics.bridge(topic),
            payload: words.to_string().into_bytes(),
            retain: false,
            correlation: None,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready)
    }
}

fn words_of(message: &Message) -> Option<Rival> {
    let words: Rival = serde_json::from_slice(&message.payload).ok()?;
    Some(words).filter(|words| !words.instance.is_empty())
}
