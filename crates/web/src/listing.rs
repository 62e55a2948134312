//! Lists in pages, and answers that need not be sent twice.
//!
//! Input are all items of a list, in an order that stays; output is a page `{"items":[..],"next":..}` with an
//! ETag, or 304 where the other side has it already.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

/// The items of a page where nothing else is asked for.
pub(crate) const LIMIT_DEFAULT: u16 = 100;
/// The most items of a page.
pub(crate) const LIMIT_MAX: u16 = 1000;
/// The longest cursor.
const CURSOR_MAX: usize = 2048;

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// The most items.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<u16>,
    /// Where the page before ended: its `next`.
    #[param(max_length = 2048, pattern = "^[A-Za-z0-9_-]*$")]
    pub(crate) cursor: Option<String>,
}

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// What to ask with for the next ones; none at the end.
    pub(crate) next: Option<String>,
}

/// Where a page ends: the key of its last item.
pub(crate) fn cursor(key: &[&str]) -> String {
    URL_SAFE_NO_PAD.encode(key.join("\0"))
}

/// Returns the key of the item after which the page begins.
pub(crate) fn after(query: &PageQuery) -> Result<Option<Vec<String>>, Problem> {
    let Some(cursor) = &query.cursor else {
        return Ok(None);
    };
    let wrong =
        || Problem::invalid("this cursor is none that a list here has given: begin without one");
    if cursor.len() > CURSOR_MAX {
        return Err(wrong());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    Ok(Some(text.split('\0').map(str::to_owned).collect()))
}

/// Returns how many items are asked for.
pub(crate) fn limit(query: &PageQuery) -> Result<usize, Problem> {
    match query.limit.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(usize::from(limit)),
        limit => Err(Problem::invalid(format!(
            "limit is {limit}; it is 1 to {LIMIT_MAX}"
        ))),
    }
}

/// Makes a page of items that are sorted by their key.
pub(crate) fn page<I, T>(
    query: &PageQuery,
    all: impl IntoIterator<Item = I>,
    key: impl Fn(&I) -> Vec<String>,
    show: impl Fn(I) -> T,
) -> Result<Page<T>, Problem> {
    let limit = limit(query)?;
    let after = after(query)?;
    let mut rest = all
        .into_iter()
        .filter(|item| after.as_ref().is_none_or(|after| key(item) > *after))
        .peekable();
    let mut items = Vec::new();
    let mut last = Vec::new();
    while items.len() < limit
        && let Some(item) = rest.next()
    {
        last = key(&item);
        items.push(show(item));
    }
    let parts: Vec<&str> = last.iter().map(String::as_str).collect();
    let next = rest.peek().map(|_| cursor(&parts));
    Ok(Page { items, next })
}

/// Answers with JSON and its ETag, or with 304 where `headers` say that it is known.
pub(crate) fn json(headers: &HeaderMap, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => tagged(headers, "application/json", body),
        Err(error) => {
            tracing::error!("an answer has no JSON form: {error}");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the hub has a bug here; its log says more",
            )
            .into_response()
        }
    }
}

/// The same for any content.
pub(crate) fn tagged(headers: &HeaderMap, kind: &'static str, body: Vec<u8>) -> Response {
    let digest = Sha256::digest(&body);
    let tag = URL_SAFE_NO_PAD.encode(digest.get(..12).unwrap_or_default());
    let tag = format!("\"{tag}\"");
    let known = is_known(headers, &tag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(body))
    };
    let headers = response.headers_mut();
    if !known {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// Tells whether the other side has what carries this tag.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == tag || known == "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(limit: u16, cursor: Option<String>) -> PageQuery {
        PageQuery {
            limit: Some(limit),
            cursor,
        }
    }

    fn read(limit: u16, cursor: Option<String>, all: &[&str]) -> (Vec<String>, Option<String>) {
        let key = |item: &&str| vec![(*item).to_owned()];
        let page = page(&query(limit, cursor), all.to_vec(), key, str::to_owned).unwrap();
        (page.items, page.next)
    }

    #[test]
    fn pages_follow_each_other_also_where_an_item_comes_or_goes_between_them() {
        let (items, next) = read(2, None, &["a", "b", "c", "d"]);
        assert_eq!(items, ["a", "b"]);
        let (items, next) = read(2, next, &["a", "aa", "c", "d"]);
        assert_eq!(items, ["c", "d"]);
        assert_eq!(next, None);
    }

    #[test]
    fn a_limit_or_cursor_that_is_none_is_refused() {
        assert!(limit(&query(0, None)).is_err());
        assert!(limit(&query(1001, None)).is_err());
        assert!(after(&query(1, Some("§".to_owned()))).is_err());
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let first = json(&HeaderMap::new(), &[1, 2]);
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(json(&headers, &[1, 2]).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(json(&headers, &[1, 3]).status(), StatusCode::OK);
    }
}
