//! Devices: lists, one device, its schema with what is odd about it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use hearthgate_diagnose::oddities;
use hearthgate_protocol::model::{DataPoint, Home, Reading};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::extract::{Ask, Params};
use crate::listing::{self, Page, PageQuery};
use crate::problem::{Problem, Problems};
use crate::view::DeviceView;

/// Which devices.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeviceQuery {
    /// The most items.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// Where the page before ended: its `next`.
    #[param(max_length = 2048)]
    cursor: Option<String>,
    /// Those of this gateway alone.
    gateway: Option<String>,
}

/// What a device declares, as it is on the wire, and what is odd about it.
#[derive(Serialize, ToSchema)]
#[schema(as = Schema)]
pub(crate) struct SchemaView {
    /// The vendor's code for what it is.
    category: String,
    /// The data points that take writes.
    function: Vec<DeclaredView>,
    /// The data points that report.
    status: Vec<DeclaredView>,
    /// What is odd; nothing of it is a fault.
    oddities: Vec<OddityView>,
}

/// A declaration.
#[derive(Serialize, ToSchema)]
#[schema(as = Declared)]
struct DeclaredView {
    code: String,
    /// The type, as the device spells it.
    #[serde(rename = "type")]
    kind: String,
    /// Limits and units, as they are on the wire: mostly a text that holds JSON.
    #[schema(value_type = serde_json::Value)]
    values: Box<RawValue>,
}

/// Something odd.
#[derive(Serialize, ToSchema)]
#[schema(as = Oddity)]
struct OddityView {
    /// The data point, if it is about one.
    code: Option<String>,
    /// What is odd.
    text: String,
}

/// Lists the devices, by gateway and id
#[utoipa::path(
    get, path = "/api/v1/devices", operation_id = "list_devices", tag = "devices", params(DeviceQuery),
    responses((status = 200, body = Page<DeviceView>), (status = 304, description = "Known already"), Problems),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Ask(query): Ask<DeviceQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    };
    let after = listing::after(&page)?.unwrap_or_default();
    let begin = after.first().cloned().unwrap_or_default();
    let mut gateways = app.hub.gateways();
    gateways.retain(|info| {
        let wanted = query.gateway.as_deref();
        info.id.as_str() >= &*begin && wanted.is_none_or(|wanted| info.id.as_str() == wanted)
    });
    gateways.sort_by(|a, b| a.id.cmp(&b.id));
    let mut all = Vec::new();
    for info in &gateways {
        let clone = |home: &Home| home.devices().cloned().collect::<Vec<_>>();
        let mut devices = app.read(info, clone).unwrap_or_default();
        devices.sort_by(|a, b| a.id().cmp(b.id()));
        all.extend(devices.into_iter().map(|device| (info.id.clone(), device)));
    }
    let shown = listing::page(
        &page,
        all,
        |(gateway, device)| vec![gateway.to_string(), device.id().to_string()],
        |(gateway, device)| app.device_view(&gateway, &device),
    )?;
    Ok(listing::json(&headers, &shown))
}

/// Reads a device with its data points
#[utoipa::path(
    get, path = "/api/v1/devices/{gateway}/{device}", operation_id = "read_device", tag = "devices",
    params(("gateway" = String, Path, description = "The uuid of its gateway"), ("device" = String, Path, description = "Its id")),
    responses((status = 200, body = DeviceView), (status = 304, description = "Known already"), Problems),
)]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    Params((gateway, device)): Params<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = super::values::device(&app, &gateway, &device)?;
    let shown = app.device_view(&gateway.as_str().into(), &found);
    Ok(listing::json(&headers, &shown))
}

/// Reads what a device declares, and what is odd about it
#[utoipa::path(
    get, path = "/api/v1/devices/{gateway}/{device}/schema", operation_id = "read_schema", tag = "devices",
    params(("gateway" = String, Path, description = "The uuid of its gateway"), ("device" = String, Path, description = "Its id")),
    responses((status = 200, body = SchemaView), (status = 304, description = "Known already"), Problems),
)]
pub(crate) async fn schema(
    State(app): State<Arc<App>>,
    Params((gateway, device)): Params<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = super::values::device(&app, &gateway, &device)?;
    let schema = found.schema();
    let readings: Vec<Reading> = found
        .points()
        .iter()
        .map(|point| Reading {
            code: point.code.clone(),
            value: point.value.clone(),
        })
        .collect();
    let shown = SchemaView {
        category: schema.category().to_owned(),
        function: schema.functions().iter().map(declared).collect(),
        status: schema.statuses().iter().map(declared).collect(),
        oddities: oddities(schema, &readings)
            .into_iter()
            .map(|oddity| OddityView {
                code: oddity.code.map(|code| code.to_string()),
                text: oddity.text,
            })
            .collect(),
    };
    Ok(listing::json(&headers, &shown))
}

fn declared(point: &DataPoint) -> DeclaredView {
    DeclaredView {
        code: point.code().to_string(),
        kind: point.type_name().to_owned(),
        values: RawValue::from_string(point.values().json().into_owned())
            .unwrap_or_else(|_| RawValue::NULL.to_owned()),
    }
}
