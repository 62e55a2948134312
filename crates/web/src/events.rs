//! The stream of events: server-sent events that can be resumed by id.
//!
//! Input is `ring`, from where the other side was; output is a stream that ends with the hub, or after an hour, so
//! that whoever is logged out meanwhile hears no more. Each reader has a cursor and no queue.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::watch;
use tokio::time::Instant;
use utoipa::IntoParams;

use crate::app::App;
use crate::extract::Ask;
use crate::listing;
use crate::problem::{Problem, Problems};
use crate::ring::{Gap, Logged};
use crate::watch as hub_watch;

/// How often a stream says that it is there.
const TICK: Duration = Duration::from_secs(10);
/// How long a stream lasts; the other side resumes it.
const LIFE: Duration = Duration::from_secs(60 * 60);
/// The longest id of an event, in characters.
const ID_MAX: usize = 100;
/// How long the other side waits before it connects again, in milliseconds.
const RETRY_MS: u32 = 2000;

/// Where to go on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Resume {
    /// The id of the last event that was seen; the header `Last-Event-ID` wins.
    #[param(max_length = 100)]
    last_event_id: Option<String>,
}

/// How many of the newest events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Recent {
    /// The most events.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// Follows everything: `text/event-stream`
///
/// First `hello` with `{"id","resumed"}`, then `gateway`, `gateway_gone`, `device`, `device_gone`, `values`, `online`,
/// `renamed` as things happen, and `tick` every 10 s. Where the last id that was seen cannot be resumed from, `reset` comes
/// instead of what is missing: read everything again.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events", params(Resume),
    responses(
        (status = 200, description = "The stream", content_type = "text/event-stream", body = String),
        Problems,
    ),
)]
pub(crate) async fn follow(
    State(app): State<Arc<App>>,
    Ask(resume): Ask<Resume>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let permit = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        let detail = "too many event streams are open; close one";
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", detail);
        problem.after(TICK)
    })?;
    if resume
        .last_event_id
        .as_ref()
        .is_some_and(|id| id.chars().count() > ID_MAX)
    {
        let detail = format!("`last_event_id` has at most {ID_MAX} characters");
        return Err(Problem::invalid(detail));
    }
    let header = headers.get("last-event-id");
    let header = header.and_then(|id| id.to_str().ok()).map(str::to_owned);
    let last = header.or(resume.last_event_id).filter(|id| !id.is_empty());
    let number = last.as_deref().map(|id| app.ring.number(id));
    let resumed = number
        .flatten()
        .is_some_and(|number| app.ring.after(number).is_ok());
    let cursor = match number.flatten() {
        Some(number) if resumed => number,
        _ => app.ring.newest(),
    };
    let mut first = format!(
        "retry: {RETRY_MS}\nid: {id}\nevent: hello\ndata: {{\"id\":\"{id}\",\"resumed\":{resumed},\"now\":{now}}}\n\n",
        id = app.ring.id(cursor),
        now = hub_watch::now(),
    );
    if last.is_some() && !resumed {
        first.push_str(&reset(&app, cursor));
    }
    app.metrics.streams.inc();
    let follower = Follower {
        changes: app.ring.changes(),
        first: Some(first),
        cursor,
        tick: Instant::now() + TICK,
        end: Instant::now() + LIFE,
        _permit: permit,
        app,
    };
    let stream = stream::unfold(follower, |mut follower| async move {
        let text = follower.next().await?;
        Some((Ok::<_, Infallible>(text), follower))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that gather answers would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Lists the newest events, oldest first
#[utoipa::path(
    get, path = "/api/v1/log", tag = "events", params(Recent),
    responses((status = 200, body = listing::Page<Logged>), Problems),
)]
pub(crate) async fn log(
    State(app): State<Arc<App>>,
    Ask(recent): Ask<Recent>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = listing::PageQuery {
        limit: recent.limit,
        cursor: None,
    };
    let items = app.ring.recent(listing::limit(&query)?);
    Ok(listing::json(
        &headers,
        &listing::Page { items, next: None },
    ))
}

struct Follower {
    app: Arc<App>,
    changes: watch::Receiver<u64>,
    first: Option<String>,
    /// The number of the last event that was sent.
    cursor: u64,
    tick: Instant,
    end: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.app.metrics.streams.dec();
    }
}

impl Follower {
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            self.changes.mark_unchanged();
            match self.app.ring.after(self.cursor) {
                Ok((text, _)) if text.is_empty() => {}
                Ok((text, last)) => {
                    self.cursor = last;
                    return Some(text);
                }
                Err(Gap) => {
                    self.cursor = self.app.ring.newest();
                    return Some(reset(&self.app, self.cursor));
                }
            }
            tokio::select! {
                () = self.app.stop.cancelled() => return None,
                () = tokio::time::sleep_until(self.end) => return None,
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                }
                () = tokio::time::sleep_until(self.tick) => {
                    self.tick = Instant::now() + TICK;
                    return Some(format!("event: tick\ndata: {{\"now\":{}}}\n\n", hub_watch::now()));
                }
            }
        }
    }
}

fn reset(app: &App, cursor: u64) -> String {
    format!("id: {}\nevent: reset\ndata: {{}}\n\n", app.ring.id(cursor))
}
