//! The older dialect, of before 2024 (section 8): what is asked at the token endpoint, and what it
//! answers, over HTTP/1.1 and without I/O.
//!
//! A client writes a [`TokenQuestion`] and reads the answer with a [`TokenExchange`]; a gateway's
//! connection takes requests apart as [`Claim`]s, which whoever keeps the tokens decides on. The bytes
//! travel over TLS, which is the callers' affair. Secrets stand in the path, so that no path of this
//! dialect is ever to be logged.

use std::fmt::Write as _;
use std::time::Duration;

use zeroize::Zeroize;

use crate::crypto::{ApiKey, Token};
use crate::limits::{TOKEN_ANSWER_MAX, UPGRADE_HEADERS_MAX};
use crate::wire::{parse_tokens, write_tokens};

/// Where a gateway gives tokens out.
const PATH: &str = "/api/v1/token";

/// A pair of tokens. `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// What opens a session.
    pub access: Token,
    /// What buys the next pair; empty where a gateway gives none.
    pub refresh: Token,
    /// How long they hold from the moment at which they were given.
    pub lifetime: Duration,
}

/// What somebody wants of a gateway, and by what right. `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A new pair of tokens, for the API key.
    New(Token),
    /// The next pair, for a refresh token.
    Renew(Token),
    /// A session, for an access token.
    Session(Token),
}

impl Claim {
    /// Reads a path that is asked for; none where it is not the token endpoint's.
    pub(crate) fn of_path(path: &str, bearer: Token) -> Option<Self> {
        let path = path.split('?').next().unwrap_or_default();
        let rest = path.strip_prefix(PATH)?;
        match rest.strip_prefix('/') {
            None if rest.is_empty() => Some(Self::New(bearer)),
            Some("") => Some(Self::New(bearer)),
            Some(refresh) => Some(Self::Renew(Token::new(refresh))),
            None => None,
        }
    }
}

/// What a client asks at the token endpoint.
#[derive(Clone, Copy, Debug)]
pub enum TokenQuestion<'a> {
    /// The first pair.
    New(&'a ApiKey),
    /// The next pair. The key goes along, for gateways that want to see it here too.
    Renew(&'a ApiKey, &'a Token),
}

impl TokenQuestion<'_> {
    /// Writes the request; `host` is the endpoint's address for the Host header.
    pub fn write(&self, host: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"GET ");
        out.extend_from_slice(PATH.as_bytes());
        let key = match self {
            Self::New(key) => key,
            Self::Renew(key, refresh) => {
                out.push(b'/');
                write_segment(out, refresh.expose());
                key
            }
        };
        let head = format!(" HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n");
        out.extend_from_slice(head.as_bytes());
        write_bearer(out, key.expose());
        out.extend_from_slice(b"Connection: close\r\n\r\n");
    }
}

/// Why a token endpoint gave no tokens. No text repeats what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It refused the key or the refresh token.
    #[error("it answered with HTTP {0}: the key is refused")]
    Refused(u16),
    /// It has too much to do, or a fault.
    #[error("it answered with HTTP {0}{hint}", hint = status_hint(*.0))]
    Status(u16),
    /// What answers is no HTTP server.
    #[error("it does not speak HTTP")]
    NotHttp,
    /// The answer ended early.
    #[error("it hung up in the midst of its answer")]
    CutOff,
    /// The answer is longer than any sensible one.
    #[error("its answer is longer than {TOKEN_ANSWER_MAX} bytes")]
    TooLong,
    /// The answer is something else.
    #[error("{0}")]
    Content(&'static str),
}

fn status_hint(status: u16) -> &'static str {
    match status {
        426 => {
            ": a WebSocket server without a token endpoint, most likely a gateway of the dialect 2024"
        }
        429 | 503 => ": it has too much to do, try again in a minute",
        _ => "",
    }
}

/// Reads the answer of a token endpoint.
#[derive(Default)]
pub struct TokenExchange {
    bytes: Vec<u8>,
}

impl TokenExchange {
    /// Takes bytes until the answer is whole.
    ///
    /// # Errors
    /// Where it is no answer with tokens.
    pub fn handle(&mut self, bytes: &[u8]) -> Result<Option<Tokens>, TokenFault> {
        if self.bytes.len() + bytes.len() > TOKEN_ANSWER_MAX {
            return Err(TokenFault::TooLong);
        }
        self.bytes.extend_from_slice(bytes);
        self.read(false)
    }

    /// Takes note that no more bytes come, which ends an answer that announces no length.
    ///
    /// # Errors
    /// Where it is no answer with tokens.
    pub fn handle_eof(&mut self) -> Result<Tokens, TokenFault> {
        self.read(true)?.ok_or(TokenFault::CutOff)
    }

    fn read(&self, ended: bool) -> Result<Option<Tokens>, TokenFault> {
        let mut headers = [httparse::EMPTY_HEADER; UPGRADE_HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let size = match response.parse(&self.bytes) {
            Ok(httparse::Status::Complete(size)) => size,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(TokenFault::NotHttp),
        };
        match response.code.unwrap_or_default() {
            200..=299 => {}
            // Some servers say so where the path holds a token that they do not know.
            status @ (400 | 401 | 403 | 404) => return Err(TokenFault::Refused(status)),
            status => return Err(TokenFault::Status(status)),
        }
        let header = |name: &str| {
            let mut headers = response.headers.iter();
            let found = headers.find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(found.value).ok().map(str::trim)
        };
        let body = self.bytes.get(size..).unwrap_or_default();
        let chunked = header("transfer-encoding")
            .is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
        if chunked {
            return match unchunked(body)? {
                Some(body) => parse_tokens(&body).map(Some).map_err(TokenFault::Content),
                None => Ok(None),
            };
        }
        let body = match header("content-length").and_then(|length| length.parse().ok()) {
            Some(length) => match body.get(..length) {
                Some(body) => body,
                None => return Ok(None),
            },
            None if ended => body,
            None => return Ok(None),
        };
        parse_tokens(body).map(Some).map_err(TokenFault::Content)
    }
}

impl Drop for TokenExchange {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl std::fmt::Debug for TokenExchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenExchange({} bytes)", self.bytes.len())
    }
}

/// Joins the chunks of a body; none where bytes are missing.
fn unchunked(mut rest: &[u8]) -> Result<Option<Vec<u8>>, TokenFault> {
    let mut body = Vec::new();
    loop {
        let (start, size) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete(chunk)) => chunk,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(TokenFault::NotHttp),
        };
        if size == 0 {
            return Ok(Some(body));
        }
        let size = usize::try_from(size).map_err(|_| TokenFault::TooLong)?;
        let end = start.checked_add(size).ok_or(TokenFault::TooLong)?;
        let Some(chunk) = rest.get(start..end) else {
            return Ok(None);
        };
        body.extend_from_slice(chunk);
        rest = match rest.get(end..) {
            Some([b'\r', b'\n', rest @ ..]) => rest,
            Some([] | [b'\r']) => return Ok(None),
            _ => return Err(TokenFault::NotHttp),
        };
    }
}

/// Writes a gateway's answer to a claim of tokens.
pub(crate) fn write_answer(out: &mut Vec<u8>, tokens: &Tokens) {
    let body = write_tokens(tokens);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body.as_bytes());
}

/// Writes the header line that carries a secret.
pub(crate) fn write_bearer(out: &mut Vec<u8>, secret: &str) {
    out.extend_from_slice(b"Authorization: Bearer ");
    // A token of a foreign gateway may hold anything; a header line holds no line end.
    out.extend(secret.bytes().filter(|byte| !byte.is_ascii_control()));
    out.extend_from_slice(b"\r\n");
}

/// Writes a part of a path; what may not stand there is escaped.
fn write_segment(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(byte);
        } else {
            let mut escaped = String::with_capacity(3);
            // Writing to a `String` cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
            out.extend_from_slice(escaped.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"access_token":"aaa","refresh_token":"rrr","expires_in":7200}"#;

    fn key() -> ApiKey {
        ApiKey::parse("OPEN key").unwrap()
    }

    fn read(answer: &str) -> Result<Option<Tokens>, TokenFault> {
        // Whatever is said of the whole is said byte by byte.
        let whole = TokenExchange::default().handle(answer.as_bytes());
        let mut exchange = TokenExchange::default();
        let mut bytes = answer.as_bytes().iter();
        let pieces = bytes.find_map(|byte| exchange.handle(&[*byte]).transpose());
        assert_eq!(whole, pieces.transpose(), "{answer}");
        whole
    }

    #[test]
    fn questions_carry_the_key_and_escape_the_token() {
        let written = |question: TokenQuestion<'_>| {
            let mut out = Vec::new();
            question.write("h:443", &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            written(TokenQuestion::New(&key())),
            "GET /api/v1/token HTTP/1.1\r\nHost: h:443\r\nAccept: application/json\r\n\
             Authorization: Bearer OPEN key\r\nConnection: close\r\n\r\n"
        );
        let odd = Token::new("a.b-c=/?\r\n ü");
        let text = written(TokenQuestion::Renew(&key(), &odd));
        assert!(
            text.starts_with("GET /api/v1/token/a.b-c=%2F%3F%0D%0A%20%C3%BC HTTP/1.1\r\n"),
            "{text}"
        );
    }

    #[test]
    fn answers_are_read_however_long_they_say_to_be() {
        let length = JSON.len();
        let plain = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{JSON}");
        let (a, b) = JSON.split_at(10);
        let chunked = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{a}\r\n{:x};x\r\n{b}\r\n0\r\n\r\n",
            b.len()
        );
        for answer in [plain, chunked] {
            let tokens = read(&answer).unwrap().unwrap();
            assert_eq!(tokens.access, Token::new("aaa"));
            assert_eq!(tokens.refresh, Token::new("rrr"));
            assert_eq!(tokens.lifetime, Duration::from_secs(7200));
        }
        let mut exchange = TokenExchange::default();
        let answer = format!("HTTP/1.0 200 OK\r\n\r\n{JSON}");
        assert_eq!(exchange.handle(answer.as_bytes()), Ok(None));
        assert_eq!(exchange.handle_eof().unwrap().access, Token::new("aaa"));
        let mut exchange = TokenExchange::default();
        exchange
            .handle(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
            .unwrap();
        assert_eq!(exchange.handle_eof(), Err(TokenFault::CutOff));
    }

    #[test]
    fn anything_else_is_told_apart() {
        for (answer, fault) in [
            (
                "HTTP/1.1 401 Unauthorized\r\n\r\n",
                TokenFault::Refused(401),
            ),
            ("HTTP/1.1 503 Busy\r\n\r\n", TokenFault::Status(503)),
            ("SSH-2.0-OpenSSH\r\n", TokenFault::NotHttp),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                TokenFault::NotHttp,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
                TokenFault::Content("access_token is missing"),
            ),
        ] {
            assert_eq!(read(answer), Err(fault), "{answer}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(TOKEN_ANSWER_MAX));
        let fault = TokenExchange::default().handle(endless.as_bytes());
        assert_eq!(fault, Err(TokenFault::TooLong));
    }

    #[test]
    fn paths_are_claims() {
        let of = |path: &str| Claim::of_path(path, Token::new("b"));
        assert_eq!(of("/api/v1/token"), Some(Claim::New(Token::new("b"))));
        assert_eq!(of("/api/v1/token/?x=1"), Some(Claim::New(Token::new("b"))));
        assert_eq!(
            of("/api/v1/token/r-1"),
            Some(Claim::Renew(Token::new("r-1")))
        );
        assert_eq!(of("/api/v1/tokens"), None);
        assert_eq!(of("/"), None);
        assert!(!format!("{:?}", of("/api/v1/token/secret")).contains("secret"));
    }
}
