//! The REST API under `/api/v1`, one file per thing, and all routes.
//!
//! Input are requests that `guard` has let through; output is JSON, and problems where something is wrong. The
//! OpenAPI document is made from the same functions and served.

mod devices;
mod gateways;
mod health;
mod history;
mod homeassistant;
mod names;
mod session;
mod values;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::problem::{PointProblem, Problem};
use crate::watch::ValuesEvent;
use crate::{assets, events, guard, listing};

/// The largest body of a request.
const BODY_MAX: usize = 64 * 1024;
/// The login that programs use.
const TOKEN: &str = "token";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hearthgate",
        description = "The hub: many gateways as one. Values are in the user's units; times are milliseconds since the \
                       Unix epoch; errors are RFC 9457 problems with the protocol's codes.",
        license(name = "MIT OR Apache-2.0"),
    ),
    components(schemas(PointProblem, ValuesEvent)),
    tags(
        (name = "gateways", description = "Which gateways there are, their links and keys"),
        (name = "devices", description = "Devices, their data points and names"),
        (name = "values", description = "Reading and writing"),
        (name = "history", description = "What was"),
        (name = "events", description = "What happens"),
        (name = "session", description = "The login of the page"),
    ),
)]
struct About;

/// Makes all routes.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let (api, mut document) = OpenApiRouter::<Arc<App>>::with_openapi(About::openapi())
        .routes(routes!(gateways::list, gateways::add))
        .routes(routes!(gateways::read, gateways::remove))
        .routes(routes!(gateways::change_key))
        .routes(routes!(gateways::diagnose))
        .routes(routes!(gateways::heard))
        .routes(routes!(names::rename_gateway))
        .routes(routes!(devices::list))
        .routes(routes!(devices::read))
        .routes(routes!(devices::schema))
        .routes(routes!(homeassistant::entities))
        .routes(routes!(names::rename_device))
        .routes(routes!(values::read, values::write))
        .routes(routes!(history::point))
        .routes(routes!(history::link))
        .routes(routes!(events::follow))
        .routes(routes!(events::log))
        .routes(routes!(session::read, session::open, session::close))
        .split_for_parts();
    complete(&mut document, app);
    let document: Arc<[u8]> = document.to_json().unwrap_or_default().into_bytes().into();
    Router::new()
        .merge(api)
        .route("/api/v1/openapi.json", get(openapi))
        .route("/metrics", get(health::metrics))
        .route("/healthz", get(health::healthz))
        .route("/", get(assets::index))
        .route("/login", get(assets::login))
        .route("/assets/{*name}", get(assets::asset))
        .fallback(nothing_there)
        .method_not_allowed_fallback(other_method)
        .layer(Extension(OpenApiText(document)))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(
            Arc::clone(app),
            guard::guard,
        ))
        .with_state(Arc::clone(app))
}

/// The OpenAPI document, as it is served.
#[derive(Clone)]
struct OpenApiText(Arc<[u8]>);

fn complete(document: &mut Document, app: &App) {
    app.version.clone_into(&mut document.info.version);
    if !app.login.is_required() {
        return;
    }
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(TOKEN, scheme);
    let none: [&str; 0] = [];
    document.security = Some(vec![SecurityRequirement::new(TOKEN, none)]);
    // How one logs in needs no login.
    if let Some(session) = document.paths.paths.get_mut("/api/v1/session") {
        let operations = [&mut session.get, &mut session.post, &mut session.delete];
        for operation in operations.into_iter().flatten() {
            operation.security = Some(Vec::new());
        }
    }
}

async fn openapi(
    Extension(OpenApiText(text)): Extension<OpenApiText>,
    headers: HeaderMap,
) -> Response {
    listing::tagged(&headers, "application/json", text.to_vec())
}

async fn nothing_there() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing here; /api/v1/openapi.json lists what there is",
    )
}

async fn other_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this cannot be done here; the header Allow says what can",
    )
}
