//! Devices as our own TOML file, keys included.

use std::fmt::Write;

use toml::Value;
use zeroize::Zeroizing;

use super::{DEFAULT_GRACE, DEFAULT_POLL, DEFAULT_PORT, DeviceConfig, LanConfig, Reach};
use crate::link::Dialect;

/// Returns a configuration as the text of a file, which holds keys.
pub fn to_toml(config: &LanConfig) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(config.devices.len() * 512));
    out.push_str(
        "# hearthgate gateway --tuya-lan FILE\n# It holds keys: readable by its owner alone.\n",
    );
    if !config.listen.is_empty() {
        let listen = config.listen.iter().map(|at| text(&at.to_string()));
        line(&mut out, "listen", &Value::Array(listen.collect()));
    }
    for device in &config.devices {
        device_to_toml(device, &mut out);
    }
    out
}

fn device_to_toml(device: &DeviceConfig, out: &mut String) {
    out.push_str("\n[[device]]\n");
    line(out, "id", &text(device.id.as_str()));
    if let Some(name) = &device.name {
        line(out, "name", &text(name));
    }
    match &device.reach {
        Reach::Direct(direct) => {
            line(out, "key", &text(direct.key.text()));
            let version = direct.version.map_or("auto", |version| version.name());
            line(out, "version", &text(version));
            line(
                out,
                "address",
                &text(direct.host.as_deref().unwrap_or("auto")),
            );
            if direct.port != DEFAULT_PORT {
                line(out, "port", &Value::Integer(direct.port.into()));
            }
            match direct.dialect {
                Some(Dialect::Standard) => line(out, "dialect", &text("standard")),
                Some(Dialect::Device22) => line(out, "dialect", &text("device22")),
                None => {}
            }
        }
        Reach::Behind { parent, cid } => {
            line(out, "parent", &text(parent.as_str()));
            line(out, "cid", &text(cid));
        }
    }
    if !device.category.is_empty() {
        line(out, "category", &text(&device.category));
    }
    if let Some(product) = &device.product {
        line(out, "product", &text(product));
    }
    let time = |time: std::time::Duration| text(&format!("{}ms", time.as_millis()));
    match device.poll {
        None => line(out, "poll", &text("off")),
        Some(poll) if poll != DEFAULT_POLL => line(out, "poll", &time(poll)),
        Some(_) => {}
    }
    if device.grace != DEFAULT_GRACE {
        line(out, "grace", &time(device.grace));
    }
    if !device.refresh.is_empty() {
        let numbers = device
            .refresh
            .iter()
            .map(|number| Value::Integer((*number).into()));
        line(out, "refresh", &Value::Array(numbers.collect()));
    }
    for (number, point) in device.points.points() {
        let declared = &point.declared;
        let values = declared.values();
        let values = values.as_string().unwrap_or_else(|| values.json());
        let _ = writeln!(
            out,
            "points.{number} = {{ code = {}, type = {}, values = {}, access = {} }}",
            text(declared.code().as_str()),
            text(declared.type_name()),
            text(&values),
            text(point.access.name()),
        );
    }
    for (number, code) in device.points.named() {
        line(out, &format!("points.{number}"), &text(code));
    }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn line(out: &mut String, key: &str, value: &Value) {
    // Writing to a text cannot fail.
    let _ = writeln!(out, "{key} = {value}");
}
