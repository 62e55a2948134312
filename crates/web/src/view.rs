//! What the API shows of gateways and devices: plain data, made from what the hub has. Pure.
//!
//! Input are the hub's devices; output goes to `api`, and to `ring` as the data of events. A value stands in the
//! user's units (`value`), as the wire has it (`raw`) and as people read it (`text`).

use hearthgate_hub::GatewayId;
use hearthgate_protocol::model::{DataPoint, Device, IntegerSpec, Point, Source, Spec, Value};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::kind;

/// A gateway.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Gateway)]
pub(crate) struct GatewayView {
    /// Its uuid.
    pub(crate) id: String,
    /// What people call it.
    pub(crate) name: String,
    /// Whether there is a connection: `no_key`, `connecting`, `up`, `down`.
    pub(crate) link: &'static str,
    /// Why there is none, the likely cause and the next step.
    pub(crate) reason: Option<String>,
    /// Whether what is missing is the right key: `authentication` where one side refused the other's.
    pub(crate) fault: Option<&'static str>,
    /// Since when the link is as it is; milliseconds since the Unix epoch.
    pub(crate) since: i64,
    /// Whether the devices are as the gateway has them now.
    pub(crate) synced: bool,
    /// Whether it counts as available: also while a connection is away for less than its grace.
    pub(crate) available: bool,
    /// How many devices it has.
    pub(crate) devices: usize,
    /// How many of them it reaches.
    pub(crate) devices_online: usize,
    /// The wire encoding of the connection.
    pub(crate) wire: Option<&'static str>,
    /// The last measured round trip of a request, in milliseconds.
    pub(crate) round_trip_ms: Option<f64>,
    /// Events a second, over the last ten.
    pub(crate) events_per_second: f64,
    /// Events since the hub was started.
    pub(crate) events: u64,
    /// Connections that were made since then.
    pub(crate) connects: u64,
    /// The last reason for which there was no connection, also where there is one now.
    pub(crate) last_error: Option<ErrorView>,
    /// Whether its key can be changed here.
    pub(crate) kept: bool,
}

/// What went wrong, and when.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = LastError)]
pub(crate) struct ErrorView {
    /// When; milliseconds since the Unix epoch.
    pub(crate) at: i64,
    /// What, the likely cause and the next step.
    pub(crate) text: String,
}

/// A device with its data points.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Device)]
pub(crate) struct DeviceView {
    /// The uuid of its gateway.
    pub(crate) gateway: String,
    /// Its id, unique within its gateway.
    pub(crate) id: String,
    /// What people call it.
    pub(crate) name: Option<String>,
    /// The vendor's code for what it is.
    pub(crate) category: String,
    /// What it is: `light`, `switch`, `cover`, .. `other`.
    pub(crate) kind: &'static str,
    /// Whether its gateway reaches it.
    pub(crate) online: bool,
    /// All that it declares or has reported.
    pub(crate) points: Vec<PointView>,
}

/// A data point: what is declared, and its value.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Point)]
pub(crate) struct PointView {
    /// Its code.
    pub(crate) code: String,
    /// How it is declared as one that reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) read: Option<SpecView>,
    /// How it is declared as one that takes writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) write: Option<SpecView>,
    /// Its value; none where it was never reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<ValueView>,
}

/// A value and how it is known.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Value)]
pub(crate) struct ValueView {
    /// In the user's units: a scaled number, true or false, a word, names of flags.
    #[schema(value_type = serde_json::Value)]
    pub(crate) value: Box<RawValue>,
    /// As it is on the wire.
    #[schema(value_type = serde_json::Value)]
    pub(crate) raw: Box<RawValue>,
    /// As people read it, without its unit.
    pub(crate) text: String,
    /// When it was last confirmed; milliseconds since the Unix epoch.
    pub(crate) at: i64,
    /// When it last became another one.
    pub(crate) changed: i64,
    /// By what it was last confirmed: `event`, `read`, `cache`.
    pub(crate) source: &'static str,
}

/// A declaration. Limits are in the user's units.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = Declaration)]
pub(crate) struct SpecView {
    /// `boolean`, `integer`, `enum`, `string`, `json`, `raw`, `bitmap`, `unknown`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The type as the device spells it.
    pub(crate) declared: String,
    /// The unit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) unit: String,
    /// The decimal places: a quantity is the wire's number divided by ten to the power of this.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) scale: u32,
    /// The least value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub(crate) min: Option<Box<RawValue>>,
    /// The greatest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub(crate) max: Option<Box<RawValue>>,
    /// The step.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub(crate) step: Option<Box<RawValue>>,
    /// The words that it takes, or the names of its flags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) range: Vec<String>,
    /// The most bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) maxlen: Option<usize>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(scale: &u32) -> bool {
    *scale == 0
}

impl DeviceView {
    /// Makes one of a device.
    pub(crate) fn of(gateway: &GatewayId, device: &Device, name: Option<String>) -> Self {
        let schema = device.schema();
        let mut codes: Vec<&str> = Vec::new();
        let declared = schema.statuses().iter().chain(schema.functions());
        let declared = declared.map(|point| point.code().as_str());
        for code in declared.chain(device.points().iter().map(|point| point.code.as_str())) {
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        let points = codes
            .into_iter()
            .map(|code| PointView {
                code: code.to_owned(),
                read: schema.status(code).map(SpecView::of),
                write: schema.function(code).map(SpecView::of),
                state: device.point(code).map(|point| ValueView::of(device, point)),
            })
            .collect();
        Self {
            gateway: gateway.to_string(),
            id: device.id().to_string(),
            name,
            category: schema.category().to_owned(),
            kind: kind::of(schema.category()),
            online: device.online(),
            points,
        }
    }
}

impl ValueView {
    /// Makes one of a data point of a device.
    pub(crate) fn of(device: &Device, point: &Point) -> Self {
        let spec = device
            .schema()
            .reading(point.code.as_str())
            .map_or(&Spec::Unknown, DataPoint::spec);
        Self {
            value: in_units(spec, &point.value),
            raw: raw(&point.value.json()),
            text: spec.display(&point.value),
            at: point.confirmed.at.0,
            changed: point.changed.0,
            source: source_name(point.confirmed.source),
        }
    }
}

impl SpecView {
    fn of(point: &DataPoint) -> Self {
        let declared = point.type_name().to_owned();
        let words = |words: &[Box<str>]| words.iter().map(|word| word.to_string()).collect();
        match point.spec() {
            Spec::Boolean => Self::plain("boolean", declared),
            Spec::Integer(spec) => {
                let limit = |limit: Option<Decimal>| limit.and_then(|limit| shifted(spec, limit));
                Self {
                    unit: spec.unit.to_string(),
                    scale: spec.scale,
                    min: limit(spec.min),
                    max: limit(spec.max),
                    step: limit(spec.step),
                    ..Self::plain("integer", declared)
                }
            }
            Spec::Enum { range } => Self {
                range: words(range),
                ..Self::plain("enum", declared)
            },
            Spec::String { maxlen } => Self {
                maxlen: *maxlen,
                ..Self::plain("string", declared)
            },
            Spec::Json => Self::plain("json", declared),
            Spec::Raw { maxlen } => Self {
                maxlen: *maxlen,
                ..Self::plain("raw", declared)
            },
            Spec::Bitmap { labels, .. } => Self {
                range: words(labels),
                ..Self::plain("bitmap", declared)
            },
            Spec::Unknown => Self::plain("unknown", declared),
        }
    }

    fn plain(kind: &'static str, declared: String) -> Self {
        Self {
            kind,
            declared,
            ..Self::default()
        }
    }
}

/// Names a source.
pub(crate) fn source_name(source: Source) -> &'static str {
    match source {
        Source::Event => "event",
        Source::Read => "read",
        Source::Cache => "cache",
    }
}

/// Returns a value in the user's units.
pub(crate) fn in_units(spec: &Spec, value: &Value) -> Box<RawValue> {
    let meant = match spec {
        Spec::Integer(spec) => spec.scaled(value).map(|number| number.to_string()),
        Spec::Bitmap { labels, .. } => value.as_i64().and_then(|flags| names(flags, labels)),
        _ => None,
    };
    raw(&meant.map_or_else(|| value.json(), Into::into))
}

/// Returns the names of the flags as a JSON array, if all that are set have one.
fn names(flags: i64, labels: &[Box<str>]) -> Option<String> {
    let flags = u64::try_from(flags).ok()?;
    let unnamed = flags
        .checked_shr(u32::try_from(labels.len()).ok()?)
        .unwrap_or(0);
    if labels.is_empty() || unnamed != 0 {
        return None;
    }
    let set = labels.iter().enumerate();
    let set = set.filter(|(bit, _)| flags >> bit & 1 == 1);
    let set: Vec<&str> = set.map(|(_, label)| &**label).collect();
    serde_json::to_string(&set).ok()
}

fn shifted(spec: &IntegerSpec, limit: Decimal) -> Option<Box<RawValue>> {
    let scale = limit.scale().checked_add(spec.scale)?;
    let limit = Decimal::try_from_i128_with_scale(limit.mantissa(), scale).ok()?;
    Some(raw(&limit.normalize().to_string()))
}

/// Takes over a JSON text.
fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use hearthgate_protocol::wire::Profile;

    use super::*;

    fn view(profile: &str) -> serde_json::Value {
        let profile = Profile::parse(profile).unwrap();
        let stamp = hearthgate_protocol::model::Stamp {
            at: hearthgate_protocol::model::Timestamp(7),
            source: Source::Read,
        };
        let device = Device::new(
            profile.device,
            profile.schema,
            profile.online,
            profile.readings,
            stamp,
        );
        serde_json::to_value(DeviceView::of(&"g".into(), &device, None)).unwrap()
    }

    #[test]
    fn numbers_and_their_limits_are_in_the_users_units() {
        let view = view(
            r#"{"devid":"d","category":"wk","function":[{"code":"t","type":"Integer",
               "values":"{\"unit\":\"℃\",\"min\":50,\"max\":350,\"scale\":1,\"step\":5}"}],
               "status":[],"value":[{"k":"t","v":215}]}"#,
        );
        let point = &view["points"][0];
        assert_eq!(point["state"]["value"].to_string(), "21.5");
        assert_eq!(point["state"]["raw"].to_string(), "215");
        assert_eq!(point["state"]["text"], "21.5");
        assert_eq!(point["write"]["min"].to_string(), "5");
        assert_eq!(point["write"]["step"].to_string(), "0.5");
        assert!(point.get("read").is_none());
        assert_eq!(view["kind"], "climate");
    }

    #[test]
    fn flags_have_names_where_all_of_them_have() {
        let profile = |value: &str| {
            view(&format!(
                r#"{{"devid":"d","category":"cs","function":[],"status":[{{"code":"fault","type":"Bitmap",
                "values":"{{\"label\":[\"full\",\"defrost\"]}}"}}],"value":[{{"k":"fault","v":{value}}}]}}"#
            ))["points"][0]["state"]["value"]
                .to_string()
        };
        assert_eq!(profile("3"), r#"["full","defrost"]"#);
        assert_eq!(profile("0"), "[]");
        assert_eq!(profile("4"), "4");
    }

    #[test]
    fn what_is_reported_and_not_declared_is_shown_as_it_is() {
        let view = view(
            r#"{"devid":"d","category":"kg","function":[],"status":[],"value":[{"k":"odd","v":{"a":[1.50]}}]}"#,
        );
        assert_eq!(view["points"][0]["state"]["raw"]["a"][0].to_string(), "1.5");
        assert!(view["points"][0].get("read").is_none());
    }
}
