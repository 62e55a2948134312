//! What a frame's body says: data points, sub-devices in reach, or a refusal in words.
//!
//! Input are decrypted bytes of a device, which are lenient JSON with padding around it; values stay to
//! the byte.

use std::collections::BTreeMap;

use hearthgate_protocol::model::Value;
use serde_json::value::RawValue;

/// The most data points that are taken out of one frame.
const POINTS_MAX: usize = 512;
/// The longest refusal that is repeated.
const WORDS_MAX: usize = 80;

/// The meaning of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing: an acknowledgement.
    Empty,
    /// Values of data points.
    Points(Points),
    /// Which sub-devices are in reach and which are not.
    SubDevices {
        online: Vec<String>,
        offline: Vec<String>,
    },
    /// JSON without any of it.
    Nothing,
    /// Words in place of JSON, such as `json obj data unvalid`.
    Words(String),
    /// Neither: what another key makes of it.
    Garbled,
}

/// Values of data points of the device or of a sub-device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Points {
    /// The sub-device, by whichever name the frame gives it.
    pub(crate) cid: Option<String>,
    pub(crate) device: Option<String>,
    /// By number, in the order of the frame.
    pub(crate) values: Vec<(u16, Value)>,
}

type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Reads a body. `code` is the return code that was taken off its front: devices that send none have
/// their first four bytes there.
pub(crate) fn read(body: &[u8], code: Option<u32>) -> Content {
    let joined;
    let body = match code.map(u32::to_be_bytes) {
        Some(front @ [b'{', b'"', ..]) => {
            joined = [&front[..], body].concat();
            &joined[..]
        }
        _ => body,
    };
    let body = trimmed(body);
    if body.is_empty() {
        return Content::Empty;
    }
    if body.first() != Some(&b'{') {
        return match std::str::from_utf8(body) {
            Ok(text) if text.chars().all(|c| !c.is_control()) => {
                Content::Words(text.chars().take(WORDS_MAX).collect())
            }
            _ => Content::Garbled,
        };
    }
    // Padding may follow the object.
    let first = serde_json::Deserializer::from_slice(body)
        .into_iter::<Fields<'_>>()
        .next();
    match first {
        Some(Ok(outer)) => content(&outer),
        _ => Content::Garbled,
    }
}

/// Removes what stands around the JSON: zeros, and a version header that was cut in two.
fn trimmed(body: &[u8]) -> &[u8] {
    let edge = |byte: &u8| *byte < 0x20;
    let start = body
        .iter()
        .position(|byte| !edge(byte))
        .unwrap_or(body.len());
    let end = body
        .iter()
        .rposition(|byte| !edge(byte))
        .map_or(start, |last| last + 1);
    body.get(start..end).unwrap_or_default()
}

fn content(outer: &Fields<'_>) -> Content {
    let inner: Fields<'_> = object(outer.get("data"));
    let field = |name: &str| inner.get(name).or_else(|| outer.get(name));
    if let Some(dps) = field("dps").or_else(|| field("dp")) {
        let dps: Fields<'_> = object(Some(dps));
        let values = dps
            .iter()
            .filter_map(|(number, raw)| {
                let number = number.parse().ok().filter(|number| *number > 0)?;
                Some((number, Value::parse(raw.get()).ok()?))
            })
            .take(POINTS_MAX);
        let mut values: Vec<(u16, Value)> = values.collect();
        values.sort_by_key(|(number, _)| *number);
        return Content::Points(Points {
            cid: field("cid").and_then(text),
            device: field("devId").and_then(text),
            values,
        });
    }
    let ids = |name: &str| -> Option<Vec<String>> {
        let raw = field(name)?;
        serde_json::from_str(raw.get()).ok()
    };
    match (ids("online"), ids("offline")) {
        (None, None) => Content::Nothing,
        (online, offline) => Content::SubDevices {
            online: online.unwrap_or_default(),
            offline: offline.unwrap_or_default(),
        },
    }
}

fn object<'a>(raw: Option<&&'a RawValue>) -> Fields<'a> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}

fn text(raw: &&RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(body: &str) -> Points {
        match read(body.as_bytes(), Some(0)) {
            Content::Points(points) => points,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn all_shapes_of_data_points_are_understood() {
        for body in [
            r#"{"devId":"bf1","dps":{"1":true,"20":21.50}}"#,
            r#"{"protocol":4,"t":1,"data":{"dps":{"20":21.50,"1":true}}}"#,
            "{\"dps\":{\"1\":true,\"20\":21.50,\"x\":1,\"0\":1,\"70000\":1}}\u{4}\u{4}\u{4}",
            "\0\0\0{\"dps\":{\"1\":true,\"20\":21.50}}",
        ] {
            let values = points(body).values;
            assert_eq!(values[0], (1, Value::from(true)), "{body}");
            assert_eq!(values[1].1.json(), "21.50", "{body}");
            assert_eq!(values.len(), 2, "{body}");
        }
    }

    #[test]
    fn sub_devices_are_named_where_the_frame_names_them() {
        for body in [
            r#"{"cid":"a1","dps":{"1":1}}"#,
            r#"{"protocol":4,"data":{"cid":"a1","ctype":0,"dps":{"1":1}}}"#,
            r#"{"data":{"dps":{"1":1}},"cid":"a1"}"#,
        ] {
            assert_eq!(points(body).cid.as_deref(), Some("a1"), "{body}");
        }
        assert_eq!(
            points(r#"{"devId":"bf","dps":{}}"#).device.as_deref(),
            Some("bf")
        );
        assert_eq!(
            read(
                br#"{"reqType":"subdev_online_stat_report","data":{"online":["a"],"offline":["b"]}}"#,
                Some(0)
            ),
            Content::SubDevices {
                online: vec!["a".to_owned()],
                offline: vec!["b".to_owned()]
            }
        );
    }

    #[test]
    fn a_return_code_that_is_none_goes_back_to_its_place() {
        let code = u32::from_be_bytes(*b"{\"dp");
        let Content::Points(points) = read(br#"s":{"1":2}}"#, Some(code)) else {
            panic!("no points")
        };
        assert_eq!(points.values, [(1, Value::from(2))]);
    }

    #[test]
    fn what_is_no_state_is_told_apart() {
        assert_eq!(read(b"", Some(0)), Content::Empty);
        assert_eq!(read(b"\0\0", None), Content::Empty);
        assert_eq!(
            read(b"json obj data unvalid", Some(1)),
            Content::Words("json obj data unvalid".to_owned())
        );
        assert_eq!(read(b"{\"t\":1}", None), Content::Nothing);
        for garbled in [&b"\x91\x02\xff"[..], b"{\"dps\":", b"{]", b"a\x01b"] {
            assert_eq!(read(garbled, Some(0)), Content::Garbled, "{garbled:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(body: Vec<u8>, code: Option<u32>) {
            read(&body, code);
        }

        #[test]
        fn nothing_like_json_makes_it_panic(body in "\\{(\"(dps|data|cid|1|online)\":?|[\\[\\]{},:]|true|\\d+|\"a\"){0,24}\\}?") {
            read(body.as_bytes(), Some(0));
        }
    }
}
