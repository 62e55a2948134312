//! For those who watch over the program: health and metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::app::App;
use crate::problem::Problem;

/// The content of Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(flatten)]
    counts: Option<Counts>,
}

/// For those who may look, which is everybody where no login is asked for.
#[derive(Serialize)]
struct Counts {
    gateways: usize,
    gateways_available: usize,
}

/// Says that the program is alive. A gateway that is away is no fault of it.
pub(super) async fn healthz(State(app): State<Arc<App>>) -> Response {
    let gateways = app.hub.gateways();
    let counts = Counts {
        gateways: gateways.len(),
        gateways_available: gateways.iter().filter(|info| info.available).count(),
    };
    Json(Health {
        status: "ok",
        counts: (!app.login.is_required()).then_some(counts),
    })
    .into_response()
}

/// Gives the metrics.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    match app.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT)], text).into_response(),
        Err(error) => {
            tracing::error!("the metrics have no text: {error}");
            let detail = "the hub has a bug here; its log says more";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).into_response()
        }
    }
}
