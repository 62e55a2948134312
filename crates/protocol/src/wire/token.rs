//! The JSON of a token endpoint (section 8).

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::crypto::Token;
use crate::token::Tokens;

/// The longest lifetime that is believed.
const LIFETIME_MAX: u64 = 365 * 24 * 60 * 60;

#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<Json>,
    /// The vendor's other interfaces wrap their answers.
    result: Option<Box<Answer>>,
}

/// Reads the body of an answer: `{access_token, refresh_token, expires_in}`, itself or as `result`.
///
/// # Errors
/// What is missing. Never repeats what is there.
pub(crate) fn parse_tokens(body: &[u8]) -> Result<Tokens, &'static str> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| "the answer is no such JSON")?;
    let answer = match answer {
        Answer {
            access_token: None,
            result: Some(inner),
            ..
        } => *inner,
        answer => answer,
    };
    let access = answer.access_token.map(Token::new).unwrap_or_default();
    if access.is_empty() {
        return Err("access_token is missing");
    }
    let seconds = match &answer.expires_in {
        Some(Json::Number(number)) => number.as_f64(),
        Some(Json::String(text)) => text.parse().ok(),
        _ => None,
    };
    let seconds = seconds.filter(|seconds| *seconds >= 0.0);
    let seconds = seconds.ok_or("expires_in is missing or no number of seconds")?;
    Ok(Tokens {
        access,
        refresh: answer.refresh_token.map(Token::new).unwrap_or_default(),
        lifetime: Duration::from_secs_f64(seconds.min(LIFETIME_MAX as f64)),
    })
}

/// Writes the body of an answer.
pub(crate) fn write_tokens(tokens: &Tokens) -> String {
    serde_json::json!({
        "access_token": tokens.access.expose(),
        "refresh_token": tokens.refresh.expose(),
        "expires_in": tokens.lifetime.as_secs(),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_wrapped_or_not() {
        let tokens = Tokens {
            access: Token::new("a\"b"),
            refresh: Token::new("r"),
            lifetime: Duration::from_secs(7200),
        };
        let text = write_tokens(&tokens);
        assert_eq!(parse_tokens(text.as_bytes()), Ok(tokens.clone()));
        let wrapped = format!(r#"{{"success":true,"result":{text}}}"#);
        assert_eq!(parse_tokens(wrapped.as_bytes()), Ok(tokens));
        let bare = parse_tokens(br#"{"access_token":"a","expires_in":"60","x":1}"#).unwrap();
        assert!(bare.refresh.is_empty() && bare.lifetime == Duration::from_secs(60));
    }

    #[test]
    fn what_is_missing_is_named_and_no_token_is_repeated() {
        for (body, problem) in [
            (
                r#"{"refresh_token":"secret","expires_in":1}"#,
                "access_token",
            ),
            (r#"{"access_token":"secret"}"#, "expires_in"),
            (r#"{"access_token":"secret","expires_in":-1}"#, "expires_in"),
            (
                r#"{"access_token":"secret","expires_in":"NaN"}"#,
                "expires_in",
            ),
            (r#"{"access_token":7,"expires_in":1}"#, "JSON"),
            ("secret", "JSON"),
        ] {
            let error = parse_tokens(body.as_bytes()).unwrap_err();
            assert!(
                error.contains(problem) && !error.contains("secret"),
                "{error}"
            );
        }
    }
}
