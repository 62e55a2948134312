//! Which topic carries what: the layout below the topic root, and Home Assistant's discovery topics. Pure.
//!
//! Input are ids of gateways and devices; output are topics, and what a topic of a message means. Topics
//! hold ids, so that a rename changes none of them.
//!
//! ```text
//! <root>/bridge/state | info | devices | log | probe | presence | request/<what> | response/<what>
//! <root>/<gateway>/state | availability
//! <root>/<gateway>/<device>/state | availability | event | result | set | set/<key>
//! <prefix>/device/<object id>/config      <prefix>/status
//! ```

use hearthgate_hub::{DeviceRef, GatewayId};

/// The level below the root that is no gateway.
const BRIDGE: &str = "bridge";
/// The longest topic root or prefix, in bytes.
const ROOT_MAX: usize = 128;
/// With what ids at Home Assistant begin.
pub const ID_PREFIX: &str = "hearthgate_";

/// The layout with its two free choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    root: String,
    prefix: String,
}

/// What a topic below the root means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The hub's own state, `online` or `offline`.
    BridgeState,
    /// Which hub it is.
    BridgeInfo,
    /// The retained list.
    BridgeDevices,
    /// A hub asks whether there is another one.
    Probe,
    /// A hub answers that there is.
    Presence,
    /// A request to the hub.
    Request(String),
    /// Something of a gateway.
    Gateway(GatewayId, Kind),
    /// Something of a device.
    Device(DeviceRef, Kind),
    /// A command for a device: all of it, or one key.
    Set(DeviceRef, Option<String>),
}

/// What there is of gateways and devices, retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The whole state.
    State,
    /// `online` or `offline`.
    Availability,
}

impl Topics {
    /// Makes the layout; neither choice may have wildcards, empty levels or a `$` in front.
    ///
    /// # Errors
    /// What is wrong with a choice, for people.
    pub fn new(root: &str, prefix: &str) -> Result<Self, String> {
        check("the topic root", root)?;
        check("the discovery prefix", prefix)?;
        if root == prefix {
            return Err(format!(
                "the topic root and the discovery prefix are both `{root}`: they must differ"
            ));
        }
        Ok(Self {
            root: root.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    /// Returns the topic root.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Returns the discovery prefix.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns `<root>/bridge/<what>`.
    pub fn bridge(&self, what: &str) -> String {
        format!("{}/{BRIDGE}/{what}", self.root)
    }

    /// Returns a retained topic of a gateway.
    pub fn gateway(&self, gateway: &GatewayId, kind: Kind) -> String {
        format!("{}/{}/{}", self.root, level(gateway.as_str()), kind.name())
    }

    /// Returns a topic of a device: `state`, `availability`, `event`, `result` or `set`.
    pub fn device(&self, device: &DeviceRef, what: &str) -> String {
        let gateway = level(device.gateway.as_str());
        let id = level(device.device.as_str());
        format!("{}/{gateway}/{id}/{what}", self.root)
    }

    /// Returns the topic of a discovery message.
    pub fn discovery(&self, object_id: &str) -> String {
        format!("{}/device/{object_id}/config", self.prefix)
    }

    /// Returns where Home Assistant says that it is there.
    pub fn birth(&self) -> String {
        format!("{}/status", self.prefix)
    }

    /// Returns all discovery messages of devices, whosever.
    pub fn discovery_filter(&self) -> String {
        format!("{}/device/+/config", self.prefix)
    }

    /// Returns where retained messages of gateways and devices are. None of it takes a command, which comes
    /// by [`Self::subscriptions`] alone and therefore once.
    pub fn kept(&self) -> Vec<String> {
        let kinds = [Kind::State, Kind::Availability].map(Kind::name);
        let below = |levels: &str| kinds.map(|kind| format!("{}/{levels}/{kind}", self.root));
        let own = below("+").into_iter().chain(below("+/+"));
        own.chain([self.discovery_filter()]).collect()
    }

    /// Returns what the hub listens to for as long as it is connected.
    pub fn subscriptions(&self) -> Vec<String> {
        let own = [
            "bridge/state",
            "bridge/info",
            "bridge/probe",
            "bridge/presence",
            "bridge/request/+",
            "+/+/set",
            "+/+/set/+",
        ];
        let own = own.iter().map(|filter| format!("{}/{filter}", self.root));
        own.chain([self.birth()]).collect()
    }

    /// Returns the object id, and identifier at Home Assistant, of the hub itself.
    pub fn hub_object_id(&self) -> String {
        match self.root.as_str() {
            "hearthgate" => format!("{ID_PREFIX}bridge"),
            root => format!("{ID_PREFIX}bridge_{}", plain(root)),
        }
    }

    /// Returns the object id, and identifier at Home Assistant, of a gateway.
    pub fn gateway_object_id(gateway: &GatewayId) -> String {
        format!("{ID_PREFIX}gateway_{}", plain(gateway.as_str()))
    }

    /// Tells what a topic means; none if it is not one of ours.
    pub fn meaning(&self, topic: &str) -> Option<Meaning> {
        let below = topic.strip_prefix(&self.root)?.strip_prefix('/')?;
        let levels: Vec<&str> = below.split('/').collect();
        let device = |gateway: &str, id: &str| {
            Some(DeviceRef::new(unlevel(gateway)?.as_str(), unlevel(id)?))
        };
        Some(match levels.as_slice() {
            [BRIDGE, "state"] => Meaning::BridgeState,
            [BRIDGE, "info"] => Meaning::BridgeInfo,
            [BRIDGE, "devices"] => Meaning::BridgeDevices,
            [BRIDGE, "probe"] => Meaning::Probe,
            [BRIDGE, "presence"] => Meaning::Presence,
            [BRIDGE, "request", what] => Meaning::Request((*what).to_owned()),
            [BRIDGE, ..] => return None,
            [gateway, kind] => {
                Meaning::Gateway(GatewayId::from(unlevel(gateway)?.as_str()), Kind::of(kind)?)
            }
            [gateway, id, "set"] => Meaning::Set(device(gateway, id)?, None),
            [gateway, id, "set", key] => Meaning::Set(device(gateway, id)?, Some(unlevel(key)?)),
            [gateway, id, kind] => Meaning::Device(device(gateway, id)?, Kind::of(kind)?),
            _ => return None,
        })
    }
}

impl Kind {
    /// Returns the last level of the topic.
    pub fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Availability => "availability",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::State, Self::Availability]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// Makes one level of a topic of an id, which may hold anything: what is not a letter, digit, `_`, `-`
/// or `.` becomes `%` and two hexadecimal digits a byte.
fn level(id: &str) -> String {
    let mut level = String::with_capacity(id.len());
    for (index, byte) in id.bytes().enumerate() {
        // A gateway may be called like the level that is none.
        let reserved = index == 0 && id == BRIDGE;
        if !reserved && (byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')) {
            level.push(char::from(byte));
        } else {
            level.push_str(&format!("%{byte:02x}"));
        }
    }
    level
}

/// Reads what [`level`] wrote; none where nothing writes that.
fn unlevel(level: &str) -> Option<String> {
    let mut id = Vec::with_capacity(level.len());
    let mut rest = level.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            id.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            id.push(*first);
        }
    }
    String::from_utf8(id).ok().filter(|id| !id.is_empty())
}

/// Makes an id as discovery topics allow it: letters, digits, `_` and `-`, each other byte as `-` and two
/// hexadecimal digits.
fn plain(id: &str) -> String {
    let mut plain = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            plain.push(char::from(byte));
        } else {
            plain.push_str(&format!("-{byte:02x}"));
        }
    }
    plain
}

fn check(what: &str, text: &str) -> Result<(), String> {
    let sound = (1..=ROOT_MAX).contains(&text.len())
        && !text.starts_with('$')
        && !text.contains(['+', '#'])
        && !text.chars().any(char::is_control)
        && text.split('/').all(|level| !level.is_empty());
    if sound {
        Ok(())
    } else {
        Err(format!(
            "{what} is 1 to {ROOT_MAX} bytes without +, #, empty levels and a $ in front, such as home/tuya"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics::new("hearthgate", "homeassistant").unwrap()
    }

    #[test]
    fn every_topic_reads_back_whatever_the_ids() {
        let topics = topics();
        for (gateway, id) in [
            ("bf01", "a4c1380b"),
            ("a/b +#%", "x y/z"),
            ("bridge", "set"),
            ("state", "availability"),
            ("%62ridge", "ä%2f"),
        ] {
            let device = DeviceRef::new(gateway, id);
            let gateway = GatewayId::from(gateway);
            for kind in [Kind::State, Kind::Availability] {
                let topic = topics.device(&device, kind.name());
                assert!(!topic.contains(['+', '#', ' ']), "{topic}");
                let meaning = Some(Meaning::Device(device.clone(), kind));
                assert_eq!(topics.meaning(&topic), meaning, "{topic}");
                let topic = topics.gateway(&gateway, kind);
                let meaning = Some(Meaning::Gateway(gateway.clone(), kind));
                assert_eq!(topics.meaning(&topic), meaning, "{topic}");
            }
            let set = topics.device(&device, "set");
            assert_eq!(
                topics.meaning(&set),
                Some(Meaning::Set(device.clone(), None))
            );
            let meaning = Some(Meaning::Set(device.clone(), Some("switch_1".to_owned())));
            assert_eq!(topics.meaning(&format!("{set}/switch_1")), meaning);
        }
    }

    #[test]
    fn what_is_kept_is_found_and_no_command_comes_twice() {
        let topics = topics();
        let (gateway, device) = (GatewayId::from("set"), DeviceRef::new("a b", "set"));
        let of = |filters: &[String], topic: &str| {
            let takes = |filter: &&String| {
                let (filter, topic) = (filter.split('/'), topic.split('/'));
                filter.clone().count() == topic.clone().count()
                    && filter
                        .zip(topic)
                        .all(|(level, it)| level == "+" || level == it)
            };
            filters.iter().filter(takes).count()
        };
        let (kept, listened) = (topics.kept(), topics.subscriptions());
        for kind in [Kind::State, Kind::Availability] {
            assert_eq!(of(&kept, &topics.gateway(&gateway, kind)), 1);
            assert_eq!(of(&kept, &topics.device(&device, kind.name())), 1);
        }
        assert_eq!(of(&kept, &topics.discovery("hearthgate_x")), 1);
        let set = topics.device(&device, "set");
        for command in [format!("{set}/state"), set, topics.bridge("request/list")] {
            assert_eq!(of(&kept, &command), 0, "{command}");
            assert_eq!(of(&listened, &command), 1, "{command}");
        }
    }

    #[test]
    fn what_is_not_ours_means_nothing() {
        let topics = topics();
        for topic in [
            "hearthgate",
            "hearthgate2/bridge/state",
            "hearthgate/bridge/else",
            "hearthgate/bf01/a4c1380b/else",
            "hearthgate/bf01/%zz/state",
            "hearthgate/bf01//state",
            "homeassistant/status",
        ] {
            assert_eq!(topics.meaning(topic), None, "{topic}");
        }
    }

    #[test]
    fn object_ids_are_what_home_assistant_takes_and_differ() {
        let ids: Vec<String> = ["bf01", "a.b", "a-b", "a/b", "a_b", "a-2eb"]
            .iter()
            .map(|id| Topics::gateway_object_id(&GatewayId::from(*id)))
            .collect();
        for id in &ids {
            assert!(
                id.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            );
        }
        let unique: std::collections::HashSet<&String> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{ids:?}");
        let elsewhere = Topics::new("home/tuya", "homeassistant").unwrap();
        assert_eq!(elsewhere.hub_object_id(), "hearthgate_bridge_home-2ftuya");
        assert_eq!(topics().hub_object_id(), "hearthgate_bridge");
    }

    #[test]
    fn choices_that_cannot_be_are_refused() {
        for root in [
            "",
            "a+b",
            "a/#",
            "/a",
            "a/",
            "a//b",
            "$SYS",
            "homeassistant",
        ] {
            assert!(Topics::new(root, "homeassistant").is_err(), "{root}");
        }
        assert!(Topics::new("hearthgate", "#").is_err());
    }
}
