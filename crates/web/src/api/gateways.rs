//! Gateways: which there are, add, remove, another key, the doctor, those that are heard.

use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hearthgate_diagnose::examine;
use hearthgate_hub::{Added, Directory, FileError, GatewayId, KeyText, KnownGateway};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::app::App;
use crate::extract::{Ask, Body, Params};
use crate::listing::{self, Page, PageQuery};
use crate::problem::{Problem, Problems};
use crate::view::GatewayView;

/// A gateway to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGateway {
    /// Its uuid, as it advertises it: 1 to 64 printable ASCII characters.
    #[schema(min_length = 1, max_length = 64, pattern = "^[ -~]+$")]
    uuid: String,
    /// What people call it; its uuid where there is none.
    #[schema(min_length = 1, max_length = 64)]
    name: Option<String>,
    /// Its device key, as the vendor's app shows it: 16 characters, or 32 hexadecimal digits.
    #[schema(value_type = String, min_length = 16, max_length = 32, format = Password)]
    key: Secret,
    /// Where it is, `HOST[:PORT]`; found by its advertisements where there is none.
    #[schema(min_length = 1, max_length = 261)]
    address: Option<String>,
}

/// Another key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// The device key, as the vendor's app shows it: 16 characters, or 32 hexadecimal digits; in the older
    /// dialect the API key.
    #[schema(value_type = String, min_length = 16, max_length = 256, format = Password)]
    key: Secret,
}

/// A text that no error repeats.
struct Secret(Zeroizing<String>);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(Zeroizing::new(text))),
            _ => Err(serde::de::Error::custom("a key is a text")),
        }
    }
}

/// A gateway that advertises itself.
#[derive(Serialize, ToSchema)]
#[schema(as = HeardGateway)]
pub(crate) struct Heard {
    /// Its uuid.
    uuid: String,
    /// Where it was heard from, `ADDRESS:PORT`. A hint and no proof.
    address: String,
    /// When it was heard first; milliseconds since the Unix epoch.
    first_seen: i64,
    /// When it was heard last.
    last_seen: i64,
    /// Whether it was not heard for a minute.
    stale: bool,
    /// Whether the hub has it.
    known: bool,
}

/// What the doctor found.
#[derive(Serialize, ToSchema)]
#[schema(as = DoctorReport)]
pub(crate) struct ReportView {
    /// The wire encoding that the gateway speaks.
    wire: Option<&'static str>,
    /// Whether a check failed.
    failed: bool,
    /// The layers in the order in which they were tried.
    checks: Vec<CheckView>,
}

/// One layer that was looked at.
#[derive(Serialize, ToSchema)]
#[schema(as = DoctorCheck)]
struct CheckView {
    /// Its name.
    name: String,
    /// `pass`, `warn`, `fail`, `skip`.
    outcome: String,
    /// What was seen, the likely cause, the next step.
    detail: String,
}

/// Lists the gateways
#[utoipa::path(
    get, path = "/api/v1/gateways", operation_id = "list_gateways", tag = "gateways", params(PageQuery),
    responses((status = 200, body = Page<GatewayView>), (status = 304, description = "Known already"), Problems),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Ask(query): Ask<PageQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut all = app.hub.gateways();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let page = listing::page(
        &query,
        all,
        |info| vec![info.id.to_string()],
        |info| app.gateway_view(&info),
    )?;
    Ok(listing::json(&headers, &page))
}

/// Reads a gateway
#[utoipa::path(
    get, path = "/api/v1/gateways/{gateway}", operation_id = "read_gateway", tag = "gateways",
    params(("gateway" = String, Path, description = "Its uuid")),
    responses((status = 200, body = GatewayView), (status = 304, description = "Known already"), Problems),
)]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    Params(gateway): Params<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let info = app
        .gateway(&gateway)
        .ok_or_else(|| Problem::no_gateway(&gateway))?;
    Ok(listing::json(&headers, &app.gateway_view(&info)))
}

/// Adds a gateway, or gives a known one what differs
///
/// The hub connects to it within a few seconds; `link` tells how that went.
#[utoipa::path(
    post, path = "/api/v1/gateways", operation_id = "add_gateway", tag = "gateways", request_body = NewGateway,
    responses((status = 201, description = "It is new"), (status = 204, description = "It was known"), Problems),
)]
pub(crate) async fn add(
    State(app): State<Arc<App>>,
    Body(new): Body<NewGateway>,
) -> Result<StatusCode, Problem> {
    if !app.access.adds() {
        return Err(not_kept());
    }
    let mut known = KnownGateway::new(&*new.uuid, new.name.as_deref().unwrap_or(&new.uuid));
    known.key = Some(KeyText::new(&**new.key.0));
    known.address = new.address;
    let added = change(&app, move |path| Directory::add(path, &known)).await?;
    Ok(match added {
        Added::New => StatusCode::CREATED,
        Added::Changed | Added::Same => StatusCode::NO_CONTENT,
    })
}

/// Gives a gateway another key
///
/// Takes effect within a few seconds; `link` tells how that went.
#[utoipa::path(
    put, path = "/api/v1/gateways/{gateway}/key", operation_id = "change_key", tag = "gateways", request_body = NewKey,
    params(("gateway" = String, Path, description = "Its uuid")),
    responses((status = 204, description = "Done"), Problems),
)]
pub(crate) async fn change_key(
    State(app): State<Arc<App>>,
    Params(gateway): Params<String>,
    Body(new): Body<NewKey>,
) -> Result<StatusCode, Problem> {
    let changed = change(&app, move |path| {
        let directory = Directory::load(path)?;
        let found = directory.gateways().iter().find(|it| it.uuid == gateway);
        let Some(found) = found else {
            return Ok(Err(Problem::no_gateway(&gateway)));
        };
        let mut known = KnownGateway::new(&*found.uuid, &*found.name);
        // By these it is told what a key is.
        known.dialect = found.dialect;
        known.key_form = found.key_form;
        known.key = Some(KeyText::new(&**new.key.0));
        Directory::add(path, &known).map(Ok)
    });
    changed.await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a gateway: its key is forgotten
#[utoipa::path(
    delete, path = "/api/v1/gateways/{gateway}", operation_id = "remove_gateway", tag = "gateways",
    params(("gateway" = String, Path, description = "Its uuid")),
    responses((status = 204, description = "Done"), Problems),
)]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Params(gateway): Params<String>,
) -> Result<StatusCode, Problem> {
    let removed = change(&app, move |path| {
        let directory = Directory::load(path)?;
        if !directory.gateways().iter().any(|it| it.uuid == gateway) {
            return Ok(Err(Problem::no_gateway(&gateway)));
        }
        Directory::remove(path, &gateway).map(Ok)
    });
    removed.await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes the file of the known gateways, which the hub follows.
async fn change<T: Send + 'static>(
    app: &App,
    change: impl FnOnce(&Path) -> Result<T, FileError> + Send + 'static,
) -> Result<T, Problem> {
    let Some(path) = app.access.path().map(Path::to_owned) else {
        return Err(not_kept());
    };
    // Files may be on a disk that is slow.
    Ok(tokio::task::spawn_blocking(move || change(&path)).await??)
}

fn not_kept() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "not_kept",
        "the gateways of this hub were named when it was started: none can be added here",
    )
}

/// Lists the gateways that advertise themselves
#[utoipa::path(
    get, path = "/api/v1/discovered", operation_id = "list_discovered", tag = "gateways", params(PageQuery),
    responses((status = 200, body = Page<Heard>), (status = 304, description = "Known already"), Problems),
)]
pub(crate) async fn heard(
    State(app): State<Arc<App>>,
    Ask(query): Ask<PageQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known = app.hub.gateways();
    let now = tokio::time::Instant::now().into_std();
    let mut all = app.hub.heard();
    all.sort_by(|a, b| a.uuid.cmp(&b.uuid));
    let page = listing::page(
        &query,
        all,
        |sighting| vec![sighting.uuid.to_string()],
        |sighting| Heard {
            address: sighting.address.to_string(),
            first_seen: sighting.first_seen.0,
            last_seen: sighting.last_seen.0,
            stale: sighting.is_stale(now),
            known: known.iter().any(|info| info.id.as_str() == &*sighting.uuid),
            uuid: sighting.uuid.to_string(),
        },
    )?;
    Ok(listing::json(&headers, &page))
}

/// Diagnoses a gateway, layer by layer; takes up to half a minute
///
/// One diagnosis of a gateway at a time. It only reads.
#[utoipa::path(
    post, path = "/api/v1/gateways/{gateway}/doctor", operation_id = "diagnose_gateway", tag = "gateways",
    params(("gateway" = String, Path, description = "Its uuid")),
    responses((status = 200, body = ReportView), Problems),
)]
pub(crate) async fn diagnose(
    State(app): State<Arc<App>>,
    Params(gateway): Params<String>,
) -> Result<Response, Problem> {
    let id = GatewayId::from(&*gateway);
    if app.gateway(&gateway).is_none() {
        return Err(Problem::no_gateway(&gateway));
    }
    let Some(_doctoring) = app.begin_doctor(&id) else {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "busy",
            "a diagnosis of this gateway is under way, or too many are of others; wait for it to end",
        ));
    };
    let access = app.access.clone();
    let options = tokio::task::spawn_blocking(move || access.options(&id)).await??;
    let Some(options) = options else {
        let detail = format!("the key of the gateway {gateway} is not known here");
        return Err(Problem::new(StatusCode::CONFLICT, "no_key", detail));
    };
    // Large, and there is one at a time: not a part of every request's future.
    let report = Box::pin(examine(&options)).await.report;
    let shown = ReportView {
        wire: report.wire.map(|wire| wire.name()),
        failed: report.failed(),
        checks: report
            .checks
            .into_iter()
            .map(|check| CheckView {
                name: check.name.to_owned(),
                outcome: check.outcome.to_string(),
                detail: check.detail,
            })
            .collect(),
    };
    Ok(axum::Json(shown).into_response())
}
