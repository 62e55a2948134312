//! History: series of a data point, of whether a device was in reach, of the link to a gateway.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use hearthgate_hub::{
    Bucket, Change, DeviceRef, HISTORY_LIMIT_MAX, HistoryQuery, Points, Resolution, Series, Step,
    Subject,
};
use hearthgate_protocol::model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::extract::{Ask, Params};
use crate::listing;
use crate::problem::{Problem, Problems};
use crate::view::source_name;
use crate::watch;

/// The points of a chart where nothing else is asked for.
const POINTS_DEFAULT: u16 = 500;
/// The items of an answer where nothing else is asked for.
const LIMIT_DEFAULT: u16 = 2000;
/// The time that is looked at where nothing else is asked for.
const HOUR_MS: i64 = 60 * 60 * 1000;
/// The longest code of a data point, and the longest cursor, in characters.
const POINT_MAX: usize = 256;
const CURSOR_MAX: usize = 2048;
/// Times beyond this make no sense: the year 9999.
const LATEST: i64 = 253_402_300_799_000;

/// Which part of a series.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SeriesQuery {
    /// The data point; whether the device was in reach, where there is none.
    #[param(max_length = 256)]
    point: Option<String>,
    /// From when, in milliseconds since the Unix epoch; an hour before `to` where it is not given.
    #[param(minimum = 0, maximum = 253402300799000_i64)]
    from: Option<i64>,
    /// Until when; now where it is not given.
    #[param(minimum = 0, maximum = 253402300799000_i64)]
    to: Option<i64>,
    /// How fine: `raw` is every change. The finest with at most `points`, where it is not given.
    #[param(inline)]
    resolution: Option<StepName>,
    /// The most points from beginning to end, where no resolution is given.
    #[param(minimum = 1, maximum = 10000)]
    points: Option<u16>,
    /// The most items of this answer.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u16>,
    /// Where the answer before ended: its `next`, with all else as it was.
    #[param(max_length = 2048)]
    cursor: Option<String>,
}

/// A resolution.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StepName {
    Raw,
    Minute,
    Hour,
    Day,
}

/// A part of a series, oldest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Series)]
pub(crate) struct SeriesView {
    /// The unit.
    unit: String,
    /// Whether it is a number, of which there are means.
    number: bool,
    /// What the items are: `raw` changes, or means of a `minute`, `hour` or `day`.
    resolution: &'static str,
    /// What was in force when the part began.
    before: Option<ChangeView>,
    /// The changes or the means.
    items: Vec<ItemView>,
    /// What to ask with for the next ones; none at the end.
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = SeriesItem)]
enum ItemView {
    Change(ChangeView),
    Mean(MeanView),
}

/// A value, from its time to that of the next one.
#[derive(Serialize, ToSchema)]
#[schema(as = SeriesChange)]
struct ChangeView {
    /// When; milliseconds since the Unix epoch.
    at: i64,
    /// In the user's units; null: from here on nothing is known.
    #[schema(value_type = serde_json::Value)]
    value: Box<RawValue>,
    /// How it was learned.
    source: &'static str,
    /// Whether it is the same once more, such as a second press of a button.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    repeated: bool,
}

/// A stretch of time.
#[derive(Serialize, ToSchema)]
#[schema(as = SeriesMean)]
struct MeanView {
    /// When it begins.
    at: i64,
    /// The mean, weighted by time.
    mean: f64,
    /// The least.
    min: f64,
    /// The greatest.
    max: f64,
    /// How many changes fell into it.
    count: u64,
}

/// Reads the history of a data point, or of whether the device was in reach
#[utoipa::path(
    get, path = "/api/v1/devices/{gateway}/{device}/history", operation_id = "read_history", tag = "history",
    params(("gateway" = String, Path, description = "The uuid of its gateway"), ("device" = String, Path, description = "Its id"), SeriesQuery),
    responses((status = 200, body = SeriesView), (status = 304, description = "Known already"), Problems),
)]
pub(crate) async fn point(
    State(app): State<Arc<App>>,
    Params((gateway, device)): Params<(String, String)>,
    Ask(query): Ask<SeriesQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let device = DeviceRef::new(gateway, device);
    let subject = match &query.point {
        Some(code) => Subject::Point(device, code.as_str().into()),
        None => Subject::Online(device),
    };
    answer(&app, subject, query, &headers).await
}

/// Reads whether there was a connection to a gateway
#[utoipa::path(
    get, path = "/api/v1/gateways/{gateway}/history", operation_id = "read_link_history", tag = "history",
    params(("gateway" = String, Path, description = "Its uuid"), SeriesQuery),
    responses((status = 200, body = SeriesView), (status = 304, description = "Known already"), Problems),
)]
pub(crate) async fn link(
    State(app): State<Arc<App>>,
    Params(gateway): Params<String>,
    Ask(query): Ask<SeriesQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if query.point.is_some() {
        let detail = "a gateway has no data points: leave `point` out";
        return Err(Problem::invalid(detail));
    }
    answer(&app, Subject::Link(gateway.into()), query, &headers).await
}

async fn answer(
    app: &App,
    subject: Subject,
    query: SeriesQuery,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let asked = asked(subject, query)?;
    let Some(history) = &app.history else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no_history",
            "this hub keeps no history",
        ));
    };
    let series = history.query(asked).await?;
    Ok(listing::json(headers, &shown(series)))
}

fn asked(subject: Subject, query: SeriesQuery) -> Result<HistoryQuery, Problem> {
    let times = [query.from, query.to];
    if times
        .iter()
        .flatten()
        .any(|time| !(0..=LATEST).contains(time))
    {
        return Err(Problem::invalid(
            "times are milliseconds since the Unix epoch, up to the year 9999",
        ));
    }
    let long = |text: &Option<String>, most: usize| {
        text.as_ref()
            .is_some_and(|text| text.chars().count() > most)
    };
    if long(&query.point, POINT_MAX) || long(&query.cursor, CURSOR_MAX) {
        let detail = format!("`point` has at most {POINT_MAX} characters, `cursor` {CURSOR_MAX}");
        return Err(Problem::invalid(detail));
    }
    let to = query.to.unwrap_or_else(watch::now);
    let from = query.from.unwrap_or(to.saturating_sub(HOUR_MS));
    if from > to {
        return Err(Problem::invalid("`from` is after `to`"));
    }
    let bounded = |name: &str, number: Option<u16>, default: u16| {
        let number = usize::from(number.unwrap_or(default));
        if (1..=HISTORY_LIMIT_MAX).contains(&number) {
            Ok(number)
        } else {
            let detail = format!("{name} is {number}; it is 1 to {HISTORY_LIMIT_MAX}");
            Err(Problem::invalid(detail))
        }
    };
    let max_points = bounded("points", query.points, POINTS_DEFAULT)?;
    let limit = bounded("limit", query.limit, LIMIT_DEFAULT)?;
    let resolution = match query.resolution {
        Some(StepName::Raw) => Resolution::Exactly(Step::Raw),
        Some(StepName::Minute) => Resolution::Exactly(Step::Minute),
        Some(StepName::Hour) => Resolution::Exactly(Step::Hour),
        Some(StepName::Day) => Resolution::Exactly(Step::Day),
        None => Resolution::Auto { max_points },
    };
    Ok(HistoryQuery {
        subject,
        from: Timestamp(from),
        to: Timestamp(to),
        resolution,
        limit,
        cursor: query.cursor,
    })
}

fn shown(series: Series) -> SeriesView {
    let resolution = series.points.step().name();
    let items = match series.points {
        Points::Changes(changes) => {
            let changes = changes.iter().map(change);
            changes.map(ItemView::Change).collect()
        }
        Points::Buckets { buckets, .. } => {
            buckets.into_iter().map(mean).map(ItemView::Mean).collect()
        }
    };
    SeriesView {
        unit: series.unit,
        number: series.is_number,
        resolution,
        before: series.before.as_ref().map(change),
        items,
        next: series.next,
    }
}

fn change(change: &Change) -> ChangeView {
    let text = match (change.number, &change.value) {
        (Some(number), _) if number.is_finite() => number.to_string(),
        (_, Some(value)) => value.json().into_owned(),
        (_, None) => "null".to_owned(),
    };
    ChangeView {
        at: change.at.0,
        value: RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned()),
        source: source_name(change.source),
        repeated: change.repeated,
    }
}

fn mean(bucket: Bucket) -> MeanView {
    MeanView {
        at: bucket.start.0,
        mean: bucket.mean,
        min: bucket.min,
        max: bucket.max,
        count: bucket.count,
    }
}
