//! `hearthgate watch`: events as they come, until it is interrupted. It survives restarts of the gateway
//! and says so in its stream; events are never repeated.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use hearthgate_client::{Client, Feed, FeedItem};
use hearthgate_protocol::model::{Device, DeviceId, Reading, compact};
use hearthgate_protocol::wire::{Event, EventKind};
use tracing::warn;

use super::gateway::Signals;
use super::{closing, table};
use crate::args::WatchArgs;
use crate::exit::Failure;
use crate::known::Meant;
use crate::names::Names;
use crate::{output, select};

/// Runs the command.
pub(super) async fn run(args: WatchArgs) -> Result<(), Failure> {
    let names = Names::load(&args.names.names)?;
    let mut signals = Signals::new()?;
    let (client, mut feed) = tokio::select! {
        _ = signals.next() => return Ok(()),
        kept = Meant::find(&args.gateway)?.keep() => kept?,
    };
    let outcome = async {
        let known = client.devices().await?;
        let watched = if args.devices.is_empty() {
            None
        } else {
            let devices = select::devices(&known, &names, &args.devices)?;
            Some(devices.into_iter().collect::<HashSet<DeviceId>>())
        };
        let watch = Watch {
            client: &client,
            names: &names,
            watched,
            json: args.json,
        };
        tokio::select! {
            _ = signals.next() => Ok(()),
            outcome = watch.run(&mut feed) => outcome,
        }
    };
    let outcome = outcome.await;
    closing(&client, outcome).await
}

struct Watch<'a> {
    client: &'a Client,
    names: &'a Names,
    /// The devices to watch; all where there is none.
    watched: Option<HashSet<DeviceId>>,
    json: bool,
}

impl Watch<'_> {
    async fn run(&self, feed: &mut Feed) -> Result<(), Failure> {
        let mut is_down = false;
        while let Some(item) = feed.next().await {
            match item {
                FeedItem::Down(reason) => {
                    is_down = true;
                    self.down(&reason.to_string())?;
                }
                // The first one is no news.
                FeedItem::Up if std::mem::take(&mut is_down) => self.up()?,
                FeedItem::Event { event, json, .. } if self.is_watched(&event) => {
                    match json.filter(|_| self.json) {
                        Some(json) => output::line(&compact(&json))?,
                        None => self.show(&event)?,
                    }
                }
                FeedItem::Missed { items } => {
                    warn!("{items} events were skipped: standard output was not read fast enough");
                }
                _ => {}
            }
        }
        Err(self.client.closed().await.into())
    }

    fn down(&self, reason: &str) -> Result<(), Failure> {
        let line = if self.json {
            let reason = serde_json::to_string(reason).unwrap_or_default();
            format!(r#"{{"type":"link","state":"down","reason":{reason}}}"#)
        } else {
            // Whole, but nothing in it steers the terminal.
            let reason = reason.replace(char::is_control, "\u{fffd}");
            format!("{} link down: {reason}", clock())
        };
        Ok(output::line(&line)?)
    }

    fn up(&self) -> Result<(), Failure> {
        let line = if self.json {
            r#"{"type":"link","state":"up"}"#.to_owned()
        } else {
            format!("{} link up", clock())
        };
        Ok(output::line(&line)?)
    }

    fn is_watched(&self, event: &Event) -> bool {
        let Some(watched) = &self.watched else {
            return true;
        };
        match &event.kind {
            EventKind::RegistryUpdated { device, .. }
            | EventKind::OnlineUpdated { device, .. }
            | EventKind::StateChanged { device, .. } => watched.contains(device),
            EventKind::Other { .. } => false,
        }
    }

    fn show(&self, event: &Event) -> Result<(), Failure> {
        match &event.kind {
            EventKind::StateChanged { device, readings } => self.readings(device, readings),
            EventKind::OnlineUpdated {
                device,
                online,
                readings,
            } => {
                self.line(device, table::reach(*online))?;
                self.readings(device, readings.as_deref().unwrap_or_default())
            }
            EventKind::RegistryUpdated { device, state } => self.line(
                device,
                if *state == 0 {
                    "removed"
                } else {
                    "added or changed"
                },
            ),
            EventKind::Other { reason } => Ok(output::line(&output::printable(&format!(
                "{} {reason}",
                clock()
            )))?),
        }
    }

    fn readings(&self, device: &DeviceId, readings: &[Reading]) -> Result<(), Failure> {
        let schema = self
            .client
            .mirror()
            .read(|home| home.device(device.as_str()).map(Device::schema).cloned());
        for Reading { code, value } in readings {
            let value = table::shown_with_unit(schema.as_deref(), code.as_str(), value);
            self.line(device, &format!("{code} = {value}"))?;
        }
        Ok(())
    }

    fn line(&self, device: &DeviceId, text: &str) -> Result<(), Failure> {
        let name = match self.names.of(device.as_str()) {
            "" => device.to_string(),
            name => format!("{device} ({name})"),
        };
        Ok(output::line(&output::printable(&format!(
            "{} {name}  {text}",
            clock()
        )))?)
    }
}

/// Returns the time of day, UTC.
fn clock() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
        % 86_400;
    format!(
        "{:02}:{:02}:{:02}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}
