//! The files of the page: in the program itself; a debug build reads them from the source, so that a change shows
//! at once.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rust_embed::RustEmbed;

use crate::listing;
use crate::problem::Problem;

#[derive(RustEmbed)]
#[folder = "page/"]
struct Files;

/// The page itself.
pub(crate) async fn index(headers: HeaderMap) -> Response {
    file(&headers, "index.html")
}

/// The page for logging in.
pub(crate) async fn login(headers: HeaderMap) -> Response {
    file(&headers, "login.html")
}

/// Any other file of the page.
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&headers, &name)
}

fn file(headers: &HeaderMap, name: &str) -> Response {
    let Some(file) = Files::get(name) else {
        return Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such file")
            .into_response();
    };
    let hash = file.metadata.sha256_hash();
    let tag = URL_SAFE_NO_PAD.encode(hash.get(..12).unwrap_or_default());
    let tag = format!("\"{tag}\"");
    let known = listing::is_known(headers, &tag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(file.data.into_owned()))
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind(name)));
    // Always asked for, so that a new version of the program is a new page; mostly answered with 304.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    }
}
