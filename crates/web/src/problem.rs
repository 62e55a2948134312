//! What an error of the API looks like: RFC 9457, with the protocol's codes.
//!
//! Made from whatever can fail; read by programs through `code`, by people through `detail`.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hearthgate_client::ClientError;
use hearthgate_hub::{FileError, GatewayId, HistoryError, HubError};
use hearthgate_protocol::wire::RemoteError;
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

/// An error of the API.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: String,
    detail: String,
    errors: Vec<PointProblem>,
    retry_after: Option<Duration>,
}

/// An error (RFC 9457, `application/problem+json`).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemView {
    /// Names the kind of the error: `urn:hearthgate:error:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The kind of the error for people.
    title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong here, the likely cause and the next step.
    detail: String,
    /// The error's code: one of the protocol's (`invalid_request`, `unknown_device`, `device_offline`,
    /// `unsupported_code`, `invalid_value`, `timeout`, `busy`, `internal`), or one of the hub's.
    code: String,
    /// Everything that is wrong, where it is more than one thing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<PointProblem>,
}

/// The most details of a gateway's error that are passed on.
const DETAILS_MAX: usize = 100;

/// A gateway's error, as far as it is not read elsewhere (section 5).
#[derive(Default, Deserialize)]
struct Whole {
    #[serde(default)]
    details: Vec<WholeDetail>,
}

#[derive(Deserialize)]
struct WholeDetail {
    #[serde(default)]
    devid: String,
    k: Option<String>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What is wrong with one data point.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PointProblem {
    /// The device.
    device: String,
    /// The data point, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    point: Option<String>,
    /// The protocol's code.
    code: String,
    /// For people.
    detail: String,
}

/// The errors that any path may answer with, for the OpenAPI document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is read by the OpenAPI document alone")]
pub(crate) enum Problems {
    /// The request is wrong, or refused
    #[response(status = "4XX", content_type = "application/problem+json")]
    Client(#[to_schema] ProblemView),
    /// The gateway cannot be reached, or does not answer
    #[response(status = "5XX", content_type = "application/problem+json")]
    Gateway(#[to_schema] ProblemView),
}

impl Problem {
    /// Makes a problem.
    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// The request makes no sense.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    /// A value has no meaning for its data point.
    pub(crate) fn value(device: &str, code: &str, detail: String) -> Self {
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", &*detail);
        problem.errors.push(PointProblem {
            device: device.to_owned(),
            point: Some(code.to_owned()),
            code: "invalid_value".to_owned(),
            detail,
        });
        problem
    }

    /// There is no such gateway.
    pub(crate) fn no_gateway(gateway: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "unknown_gateway",
            format!("no gateway {gateway} is known; /api/v1/gateways lists those that are"),
        )
    }

    /// There is no such device.
    pub(crate) fn no_device(device: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "unknown_device",
            format!("the gateway has no device {device}; /api/v1/devices lists those that it has"),
        )
    }

    /// Says when to try again.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Returns the code.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }
}

fn title(code: &str) -> String {
    let mut title = code.replace('_', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status, self.retry_after);
        let view = ProblemView {
            kind: format!("urn:hearthgate:error:{}", self.code),
            title: title(&self.code),
            status: status.as_u16(),
            detail: self.detail,
            code: self.code,
            errors: self.errors,
        };
        let mut response = (status, Json(view)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = retry_after {
            let seconds = wait.as_secs_f64().ceil().max(1.0);
            if let Ok(seconds) = HeaderValue::from_str(&format!("{seconds:.0}")) {
                headers.insert(header::RETRY_AFTER, seconds);
            }
        }
        response
    }
}

impl From<RemoteError> for Problem {
    fn from(error: RemoteError) -> Self {
        let status = match error.code.as_str() {
            "invalid_request" | "unknown_type" => StatusCode::BAD_REQUEST,
            "unknown_device" => StatusCode::NOT_FOUND,
            "device_offline" | "busy" => StatusCode::CONFLICT,
            "unsupported_code" | "invalid_value" => StatusCode::UNPROCESSABLE_ENTITY,
            "timeout" => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        let mut problem = Self::new(status, &error.code, &*error.message);
        // What a gateway adds is read leniently: without it the first thing wrong is told all the same.
        let whole: Whole = serde_json::from_str(&error.json).unwrap_or_default();
        problem.errors = whole
            .details
            .into_iter()
            .take(DETAILS_MAX)
            .map(|detail| PointProblem {
                device: detail.devid,
                point: detail.k,
                code: detail.code,
                detail: detail.message,
            })
            .collect();
        problem
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused { error, .. } => error.into(),
            ClientError::Timeout { .. } => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", error.to_string())
            }
            _ => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "gateway_down",
                error.to_string(),
            ),
        }
    }
}

impl From<HubError> for Problem {
    fn from(error: HubError) -> Self {
        match error {
            HubError::UnknownGateway(gateway) => Self::no_gateway(gateway.as_str()),
            HubError::NoKey(gateway) => no_key(&gateway),
            HubError::Client(error) => error.into(),
        }
    }
}

fn no_key(gateway: &GatewayId) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "no_key",
        format!("the gateway {gateway} has no key yet: nothing was sent; enter its key"),
    )
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Refused(text) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", text)
            }
            error => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "file", error.to_string()),
        }
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        let status = match error {
            HistoryError::Query(_) => return Self::invalid(error.to_string()),
            HistoryError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            HistoryError::TooSlow => StatusCode::GATEWAY_TIMEOUT,
        };
        Self::new(status, "history", error.to_string())
    }
}

impl From<tokio::task::JoinError> for Problem {
    fn from(error: tokio::task::JoinError) -> Self {
        tracing::error!("a request ended by a bug: {error}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the hub has a bug here; its log says more",
        )
    }
}
