//! `hearthgate devices`, `schema` and `status`: what a gateway has, read once.

use std::collections::HashMap;

use hearthgate_client::Client;
use hearthgate_protocol::model::{DataPoint, DeviceId, Schema, Spec};
use rust_decimal::Decimal;

use super::{closing, connect, table};
use crate::args::{DevicesArgs, ReadArgs};
use crate::exit::Failure;
use crate::names::Names;
use crate::{output, select};

/// Runs `devices`.
pub(super) async fn devices(args: DevicesArgs) -> Result<(), Failure> {
    let names = Names::load(&args.names.names)?;
    let (client, _) = connect(&args.gateway, false).await?;
    let outcome = read_devices(&client).await;
    let found = closing(&client, outcome).await?;
    if args.json {
        let objects: Vec<String> = found
            .iter()
            .map(|(device, category, online)| {
                serde_json::json!({"devid": device.as_str(), "category": category, "online": online})
                    .to_string()
            })
            .collect();
        return Ok(output::json_array(objects.iter().map(String::as_str))?);
    }
    let rows = found
        .into_iter()
        .map(|(device, category, online)| {
            let name = names.of(device.as_str()).to_owned();
            [
                device.to_string(),
                category,
                table::reach(online).to_owned(),
                name,
            ]
        })
        .collect();
    Ok(output::table(
        ["DEVICE", "CATEGORY", "STATE", "NAME"],
        rows,
        "this gateway has no devices",
    )?)
}

async fn read_devices(client: &Client) -> Result<Vec<(DeviceId, String, bool)>, Failure> {
    let ids = client.devices().await?;
    let categories: HashMap<DeviceId, String> = schemas(client, &ids)
        .await?
        .into_iter()
        .map(|(device, schema)| (device, schema.category().to_owned()))
        .collect();
    let online: HashMap<DeviceId, bool> = client
        .statuses(&ids)
        .await?
        .into_iter()
        .map(|status| (status.device, status.online))
        .collect();
    Ok(ids
        .into_iter()
        .map(|id| {
            let category = categories.get(&id).cloned().unwrap_or_default();
            let online = online.get(&id).copied().unwrap_or(false);
            (id, category, online)
        })
        .collect())
}

/// Runs `schema`.
pub(super) async fn schema(args: ReadArgs) -> Result<(), Failure> {
    let names = Names::load(&args.names.names)?;
    let (client, _) = connect(&args.gateway, false).await?;
    if args.json {
        let outcome = async {
            let ids = select::devices(&client.devices().await?, &names, &args.devices)?;
            Ok(client.schemas_json(&ids).await?)
        };
        let objects = closing(&client, outcome.await).await?;
        return Ok(output::json_array(objects.iter().map(String::as_str))?);
    }
    let outcome = async {
        let ids = select::devices(&client.devices().await?, &names, &args.devices)?;
        schemas(&client, &ids).await
    };
    let found = closing(&client, outcome.await).await?;
    let mut rows = Vec::new();
    for (device, schema) in &found {
        for (direction, point) in both_directions(schema) {
            rows.push([
                device.to_string(),
                point.code().to_string(),
                direction.to_owned(),
                point.type_name().to_owned(),
                limits(point.spec()),
            ]);
        }
        if schema.functions().is_empty() && schema.statuses().is_empty() {
            rows.push([
                device.to_string(),
                "(no data points)".to_owned(),
                String::new(),
                String::new(),
                String::new(),
            ]);
        }
    }
    Ok(output::table(
        ["DEVICE", "CODE", "ACCESS", "TYPE", "VALUES"],
        rows,
        "this gateway has no devices",
    )?)
}

/// Runs `status`.
pub(super) async fn status(args: ReadArgs) -> Result<(), Failure> {
    let names = Names::load(&args.names.names)?;
    let (client, _) = connect(&args.gateway, false).await?;
    if args.json {
        let outcome = async {
            let ids = select::devices(&client.devices().await?, &names, &args.devices)?;
            Ok(client.statuses_json(&ids).await?)
        };
        let objects = closing(&client, outcome.await).await?;
        return Ok(output::json_array(objects.iter().map(String::as_str))?);
    }
    let outcome = async {
        let ids = select::devices(&client.devices().await?, &names, &args.devices)?;
        let schemas: HashMap<DeviceId, Schema> =
            schemas(&client, &ids).await?.into_iter().collect();
        Ok((client.statuses(&ids).await?, schemas))
    };
    let (statuses, schemas) = closing(&client, outcome.await).await?;
    let mut rows = Vec::new();
    for status in statuses {
        let schema = schemas.get(&status.device);
        let reach = table::reach(status.online);
        let row = |code: String, value: String, unit: String| {
            let device = match names.of(status.device.as_str()) {
                "" => status.device.to_string(),
                name => format!("{} ({name})", status.device),
            };
            [device, reach.to_owned(), code, value, unit]
        };
        for reading in &status.readings {
            let (value, unit) = table::shown(schema, reading.code.as_str(), &reading.value);
            rows.push(row(reading.code.to_string(), value, unit));
        }
        if status.readings.is_empty() {
            rows.push(row("(no values)".to_owned(), String::new(), String::new()));
        }
    }
    Ok(output::table(
        ["DEVICE", "STATE", "CODE", "VALUE", "UNIT"],
        rows,
        "this gateway has no devices",
    )?)
}

/// Reads the schemas of devices.
pub(super) async fn schemas(
    client: &Client,
    ids: &[DeviceId],
) -> Result<Vec<(DeviceId, Schema)>, Failure> {
    let entries = client.schemas(ids).await?;
    Ok(entries
        .into_iter()
        .map(|entry| (entry.device, entry.schema))
        .collect())
}

/// Lists each data point once, where both directions declare it alike.
fn both_directions(schema: &Schema) -> Vec<(&'static str, &DataPoint)> {
    let mut points = Vec::new();
    for function in schema.functions() {
        match schema.status(function.code().as_str()) {
            Some(status) if status == function => points.push(("read, write", function)),
            _ => points.push(("write", function)),
        }
    }
    for status in schema.statuses() {
        if schema.function(status.code().as_str()) != Some(status) {
            points.push(("read", status));
        }
    }
    points
}

/// Says what values a data point takes, scaled.
fn limits(spec: &Spec) -> String {
    match spec {
        Spec::Boolean => "on, off".to_owned(),
        Spec::Integer(spec) => {
            let scaled = |limit: Decimal| {
                let scale = limit.scale() + spec.scale;
                Decimal::try_from_i128_with_scale(limit.mantissa(), scale)
                    .map_or_else(|_| limit.to_string(), |limit| limit.to_string())
            };
            let mut text = match (spec.min, spec.max) {
                (Some(min), Some(max)) => format!("{} to {}", scaled(min), scaled(max)),
                (Some(min), None) => format!("from {}", scaled(min)),
                (None, Some(max)) => format!("to {}", scaled(max)),
                (None, None) => "any".to_owned(),
            };
            if let Some(step) = spec
                .step
                .filter(|step| *step != Decimal::ONE || spec.scale > 0)
            {
                text.push_str(&format!(" in steps of {}", scaled(step)));
            }
            if !spec.unit.is_empty() {
                text.push_str(&format!(" {}", spec.unit));
            }
            text
        }
        Spec::Enum { range } => range.join(", "),
        Spec::String { maxlen } => {
            maxlen.map_or(String::new(), |most| format!("up to {most} bytes"))
        }
        Spec::Raw { maxlen } => match maxlen {
            Some(most) => format!("base64 of up to {most} bytes"),
            None => "base64".to_owned(),
        },
        Spec::Json => "a JSON object".to_owned(),
        Spec::Bitmap { labels, bits } => match (labels.as_slice(), bits) {
            ([], Some(bits)) => format!("{bits} flags"),
            ([], None) => "flags".to_owned(),
            (labels, _) => labels.join(", "),
        },
        Spec::Unknown => "any".to_owned(),
    }
}
