//! What a subscriber has seen, and what it must never see.

use std::collections::HashMap;

use hearthgate_client::FeedItem;
use hearthgate_hub::HubItem;
use hearthgate_protocol::model::{Device, Home, Reading};
use hearthgate_protocol::wire::EventKind;

/// A subscriber's own copy of all homes, made of what it is told alone.
#[derive(Default)]
pub(crate) struct Seen {
    homes: HashMap<String, Home>,
    /// How often each press came; a press is a number that is reported once.
    presses: HashMap<i64, u32>,
    /// The newest count of each device, which only grows.
    counts: HashMap<(String, String), i64>,
    /// Events of data points.
    pub(crate) events: u64,
    /// What must not be.
    pub(crate) fault: Option<String>,
}

impl Seen {
    /// Returns the copy of a home.
    pub(crate) fn home(&self, gateway: &str) -> Option<&Home> {
        self.homes.get(gateway)
    }

    pub(crate) fn press(&self, number: i64) -> u32 {
        self.presses.get(&number).copied().unwrap_or(0)
    }

    /// Takes an item of a hub's feed.
    pub(crate) fn hub_item(&mut self, item: HubItem) {
        match item {
            HubItem::Init => self.homes.clear(),
            HubItem::Gateway(info) => {
                self.homes.entry(info.id.to_string()).or_default();
            }
            HubItem::GatewayGone(id) => {
                self.homes.remove(id.as_str());
            }
            HubItem::Device { gateway, device } => {
                self.client_item(gateway.as_str(), &FeedItem::Upsert(device));
            }
            HubItem::DeviceGone(gone) => {
                self.client_item(gone.gateway.as_str(), &FeedItem::Delete(gone.device));
            }
            HubItem::Event {
                gateway,
                event,
                at,
                applied,
            } => {
                let item = FeedItem::Event {
                    event,
                    json: None,
                    at,
                    applied,
                };
                self.client_item(gateway.as_str(), &item);
            }
            HubItem::InitDone | HubItem::Renamed { .. } | HubItem::Missed { .. } => {}
        }
    }

    /// Takes an item of the feed of one gateway's client.
    pub(crate) fn client_item(&mut self, gateway: &str, item: &FeedItem) {
        let home = self.homes.entry(gateway.to_owned()).or_default();
        item.apply_to(home);
        match item {
            FeedItem::InitApply(device) | FeedItem::Upsert(device) => self.device(gateway, device),
            FeedItem::Event { event, .. } => match &event.kind {
                EventKind::StateChanged { device, readings } => {
                    self.events += 1;
                    self.readings(gateway, device.as_str(), readings);
                    let presses = readings.iter().filter(|it| it.code.as_str() == "press");
                    for number in presses.filter_map(|press| press.value.as_i64()) {
                        let times = self.press(number) + 1;
                        self.presses.insert(number, times);
                        if times > 1 {
                            self.accuse(format!("press {number} of {device} came {times} times"));
                        }
                    }
                }
                EventKind::OnlineUpdated {
                    device,
                    readings: Some(readings),
                    ..
                } => self.readings(gateway, device.as_str(), readings),
                _ => {}
            },
            _ => {}
        }
    }

    fn device(&mut self, gateway: &str, device: &Device) {
        if let Some(count) = device.point("count").and_then(|point| point.value.as_i64()) {
            self.count(gateway, device.id().as_str(), count);
        }
    }

    fn readings(&mut self, gateway: &str, device: &str, readings: &[Reading]) {
        let counts = readings.iter().filter(|it| it.code.as_str() == "count");
        for count in counts.filter_map(|reading| reading.value.as_i64()) {
            self.count(gateway, device, count);
        }
    }

    /// Takes note of how many items waited for a subscriber that did not read.
    pub(crate) fn backlog(&mut self, items: usize, most: usize) {
        if items > most {
            self.accuse(format!("{items} items waited for a subscriber, {most} may"));
        }
    }

    /// A count never goes back: what is told is in the order in which it happened.
    fn count(&mut self, gateway: &str, device: &str, count: i64) {
        let key = (gateway.to_owned(), device.to_owned());
        let newest = self.counts.entry(key).or_insert(count);
        if count < *newest {
            let newest = *newest;
            self.accuse(format!("{device} went back from {newest} to {count}"));
        } else {
            *newest = count;
        }
    }

    fn accuse(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }
}
