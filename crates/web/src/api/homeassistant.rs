//! What Home Assistant makes of a device, by the catalog; whether or not any broker is there.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use hearthgate_homeassistant::{Catalog, Entity, Mapping, Overrides};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::extract::Params;
use crate::listing;
use crate::problem::{Problem, Problems};

/// A device as Home Assistant shows it.
#[derive(Serialize, ToSchema)]
#[schema(as = HomeAssistantDevice)]
pub(crate) struct MappingView {
    /// The identifier of the device there.
    identifier: String,
    /// What it is called where it has no name.
    model: String,
    /// Its entities.
    entities: Vec<EntityView>,
}

/// An entity.
#[derive(Serialize, ToSchema)]
#[schema(as = HomeAssistantEntity)]
struct EntityView {
    /// The platform: `light`, `sensor`, ..
    platform: &'static str,
    /// Its name below the device's; none bears the device's own.
    name: Option<String>,
    /// The data points that it stands for, the main one first.
    points: Vec<String>,
    /// Its id, which never changes.
    unique_id: String,
    device_class: Option<String>,
    state_class: Option<String>,
    unit: Option<String>,
    /// `config` or `diagnostic`: away from the dashboard.
    category: Option<&'static str>,
    /// Whether it is shown before somebody asks for it.
    enabled: bool,
}

/// Reads what Home Assistant makes of a device, by the built-in catalog
#[utoipa::path(
    get, path = "/api/v1/devices/{gateway}/{device}/homeassistant", operation_id = "read_homeassistant", tag = "devices",
    params(("gateway" = String, Path, description = "The uuid of its gateway"), ("device" = String, Path, description = "Its id")),
    responses((status = 200, body = MappingView), (status = 304, description = "Known already"), Problems),
)]
pub(crate) async fn entities(
    State(app): State<Arc<App>>,
    Params((gateway, device)): Params<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = super::values::device(&app, &gateway, &device)?;
    let mapping = Mapping::new(Catalog::builtin(), &Overrides::default(), &gateway, &found);
    let shown = MappingView {
        identifier: mapping.identifier().to_owned(),
        model: mapping.model(),
        entities: mapping.entities().iter().map(entity).collect(),
    };
    Ok(listing::json(&headers, &shown))
}

fn entity(entity: &Entity) -> EntityView {
    EntityView {
        platform: entity.platform.name(),
        name: entity.name.clone(),
        points: entity.codes.clone(),
        unique_id: entity.unique_id.clone(),
        device_class: entity.device_class.clone(),
        state_class: entity.state_class.clone(),
        unit: entity.unit.clone(),
        category: entity.category.map(|category| category.name()),
        enabled: entity.enabled,
    }
}
