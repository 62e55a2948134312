//! What the entities of one data point say in the discovery message.

use serde_json::json;

use super::Kind;
use crate::discovery::Component;
use crate::entity::{Entity, Platform};
use crate::mapping::topic;
use crate::number;
use crate::point::STATE_MAX;

/// A Boolean as Home Assistant's `ON` and `OFF`.
const ON_OFF: &str = "None if v is none else 'ON' if v else 'OFF'";

/// Writes what an entity of one data point says.
pub(super) fn discover(kind: &Kind, entity: &Entity, component: &mut Component<'_>) {
    let code = &entity.code;
    let state = component.topics().state.clone();
    let readable = entity.readable;
    if entity.platform == Platform::Event {
        component.set("state_topic", component.topics().event.clone());
        component.set("event_types", entity.options.clone());
        let template = format!(
            "{{{{ value_json | to_json if value_json.get(\"code\") == {} else '' }}}}",
            topic::literal(code)
        );
        component.set("value_template", template);
        return;
    }
    if !entity.platform.only_reads() {
        component.plain_command("command_topic", code);
    }
    if readable && entity.platform != Platform::Button {
        component.set("state_topic", state.clone());
    }
    match (entity.platform, kind) {
        (Platform::Button, _) => component.set("payload_press", "PRESS"),
        (Platform::Sensor, Kind::LastSeen) => {
            component.set(
                "value_template",
                format!(
                    "{{{{ (value_json.get('{}') or {{}}).get('last_seen') }}}}",
                    topic::DERIVED
                ),
            );
            component.set("state_topic", state);
        }
        (Platform::Sensor, Kind::Electric(_)) => {
            component.derived("value_template", "value", "None");
        }
        (Platform::Sensor, Kind::Length) => {
            component.value(
                "value_template",
                code,
                "None if v is none else v | length if v is string else v | to_json | length",
            );
            component.set("json_attributes_topic", state);
            component.value("json_attributes_template", code, "{'value': v} | to_json");
        }
        (Platform::Sensor, _) if component.is_number(code) => {
            component.value(
                "value_template",
                code,
                "v if is_number(v) and v is not boolean else None",
            );
        }
        (Platform::Sensor, _) if entity.device_class.as_deref() == Some("enum") => {
            let known = topic::list(&entity.options);
            component.value(
                "value_template",
                code,
                &format!("v if v in {known} else None"),
            );
            component.set("options", entity.options.clone());
        }
        (Platform::Sensor, _) => {
            component.value(
                "value_template",
                code,
                &format!(
                    "None if v is none else (v if v is string else v | to_json)[:{STATE_MAX}]"
                ),
            );
        }
        (Platform::BinarySensor, Kind::Bit(bit)) => {
            let mask = 1i64.checked_shl(*bit).unwrap_or(0);
            component.value(
                "value_template",
                code,
                &format!(
                    "None if v is not number else 'ON' if v | int | bitwise_and({mask}) else 'OFF'"
                ),
            );
        }
        (Platform::BinarySensor, Kind::OnWords(words)) => {
            let (on, off) = if component.is_inverted(code) {
                ("OFF", "ON")
            } else {
                ("ON", "OFF")
            };
            let known = topic::list(words);
            component.value(
                "value_template",
                code,
                &format!("None if v is none else '{on}' if v | string in {known} else '{off}'"),
            );
        }
        (Platform::BinarySensor | Platform::Switch | Platform::Siren, _) if readable => {
            let key = if entity.platform == Platform::Siren {
                "state_value_template"
            } else {
                "value_template"
            };
            component.value(key, code, ON_OFF);
        }
        (Platform::Valve, _) if readable => {
            component.value(
                "value_template",
                code,
                "None if v is none else 'open' if v else 'closed'",
            );
        }
        (Platform::Lock, _) if readable => {
            component.value(
                "value_template",
                code,
                "None if v is none else 'UNLOCKED' if v else 'LOCKED'",
            );
        }
        (Platform::Number, _) => number(entity, component, readable),
        (Platform::Select, _) => {
            component.set("options", entity.options.clone());
            if readable {
                let known = topic::list(&entity.options);
                component.value(
                    "value_template",
                    code,
                    &format!("v if v in {known} else None"),
                );
            }
        }
        (Platform::Text, _) => {
            component.set("max", STATE_MAX);
            if readable {
                component.value(
                    "value_template",
                    code,
                    &format!("v if v is string and v | length <= {STATE_MAX} else ''"),
                );
            }
        }
        _ => {}
    }
    match entity.platform {
        Platform::Siren => {
            component.set("support_duration", false);
            component.set("support_volume_set", false);
        }
        Platform::Valve => component.set("reports_position", false),
        _ => {}
    }
}

fn number(entity: &Entity, component: &mut Component<'_>, readable: bool) {
    let (Some(min), Some(max)) = (entity.min, entity.max) else {
        return;
    };
    component.set("min", number::json(min));
    component.set("max", number::json(max));
    if let Some(step) = entity.step {
        component.set("step", number::json(step));
    }
    component.set("mode", json!("box"));
    if readable {
        component.value(
            "value_template",
            &entity.code,
            &format!(
                "v if is_number(v) and v is not boolean and {min} <= v | float <= {max} else None"
            ),
        );
    }
}
