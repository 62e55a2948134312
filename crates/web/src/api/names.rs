//! Names of gateways and devices, for people; they never travel.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use hearthgate_hub::{DeviceRef, GatewayId};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use crate::app::App;
use crate::extract::{Body, Params};
use crate::problem::{Problem, Problems};

/// A name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewName {
    /// The name, unique among its like; null takes it away.
    #[schema(required = true, min_length = 1, max_length = 128)]
    #[serde(deserialize_with = "present")]
    name: Option<String>,
}

/// Asks for the field also where it may be null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

/// Gives a device a name, or takes it away
#[utoipa::path(
    put, path = "/api/v1/devices/{gateway}/{device}/name", operation_id = "rename_device", tag = "devices", request_body = NewName,
    params(("gateway" = String, Path, description = "The uuid of its gateway"), ("device" = String, Path, description = "Its id")),
    responses((status = 204, description = "Done"), Problems),
)]
pub(crate) async fn rename_device(
    State(app): State<Arc<App>>,
    Params((gateway, device)): Params<(String, String)>,
    Body(new): Body<NewName>,
) -> Result<StatusCode, Problem> {
    super::values::device(&app, &gateway, &device)?;
    let device = DeviceRef::new(gateway, device);
    let hub = app.hub.clone();
    let rename = move || hub.rename_device(&device, new.name.as_deref());
    tokio::task::spawn_blocking(rename).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a gateway a name, or takes it away
#[utoipa::path(
    put, path = "/api/v1/gateways/{gateway}/name", operation_id = "rename_gateway", tag = "gateways", request_body = NewName,
    params(("gateway" = String, Path, description = "Its uuid")),
    responses((status = 204, description = "Done"), Problems),
)]
pub(crate) async fn rename_gateway(
    State(app): State<Arc<App>>,
    Params(gateway): Params<String>,
    Body(new): Body<NewName>,
) -> Result<StatusCode, Problem> {
    if app.gateway(&gateway).is_none() {
        return Err(Problem::no_gateway(&gateway));
    }
    let gateway = GatewayId::from(gateway);
    let hub = app.hub.clone();
    let rename = move || hub.rename_gateway(&gateway, new.name.as_deref());
    tokio::task::spawn_blocking(rename).await??;
    Ok(StatusCode::NO_CONTENT)
}
