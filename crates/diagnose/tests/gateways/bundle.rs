//! What a support bundle holds, and that the key is not in it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hearthgate_diagnose::{ExploreOptions, KeyText, Options, bundle, examine, explore};
use hearthgate_protocol::variants::{KeyForm, Wire};

use crate::support::{HEX_KEY, KEY, Setting, gateway, options};

/// Looks for a key in text, hexadecimal and base64, in capitals or not.
fn holds(text: &str, key: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let raw: Vec<u8> = match key.len() {
        32 => (0..16)
            .map(|at| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).unwrap())
            .collect(),
        _ => key.as_bytes().to_vec(),
    };
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    [
        key.to_owned(),
        hex,
        STANDARD.encode(&raw),
        URL_SAFE.encode(&raw),
        STANDARD.encode(key),
    ]
    .iter()
    .any(|secret| text.contains(&secret.trim_end_matches('=').to_ascii_lowercase()))
}

async fn whole(setting: Setting) -> (Options, String) {
    let mut options = options(gateway(setting).await);
    options.key = KeyText::parse(setting.key).unwrap();
    options.conformance = true;
    options.event_timeout = Duration::from_millis(300);
    let examination = examine(&options).await;
    let how = ExploreOptions {
        pause: Duration::ZERO,
    };
    let exploration = explore(&options, &how).await;
    let text = bundle(&options, Some(&examination), Some(&exploration));
    (options, text)
}

#[tokio::test]
async fn a_bundle_holds_what_helps_and_no_key() {
    for (key, key_form, wire) in [
        (KEY, KeyForm::Ascii, Wire::Binary),
        (HEX_KEY, KeyForm::Hex, Wire::Base64),
        (KEY, KeyForm::Ascii, Wire::Plain),
        // Here the first layers fail: the text is there, the form is another one.
        (KEY, KeyForm::Md5, Wire::Binary),
    ] {
        let setting = Setting {
            key,
            key_form,
            wire,
            ..Setting::default()
        };
        let (options, text) = whole(setting).await;
        assert!(!holds(&text, key), "{key_form} {wire}");
        assert!(!holds(&format!("{options:?}"), key));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        for name in [
            "format",
            "version",
            "system",
            "options",
            "report",
            "exploration",
        ] {
            assert!(!json[name].is_null(), "{name} in {text}");
        }
        assert_eq!(json["exploration"]["found"], true);
        let transcript = json["transcript"].as_array().unwrap();
        assert!(
            transcript
                .iter()
                .any(|entry| entry["what"] == "first message")
        );
        if key_form != KeyForm::Md5 {
            assert_eq!(json["devices"].as_array().unwrap().len(), 20);
            assert!(json["devices"][0]["schema"]["function"].is_array());
            assert!(transcript.iter().any(|entry| entry["what"] == "get_status"));
        }
    }
}

#[tokio::test]
async fn a_key_that_a_device_reports_is_struck_out() {
    let (mut options, _) = whole(Setting::default()).await;
    let examination = examine(&options).await;
    // As if a device said the key, which real firmware could put anywhere.
    let (_, schema) = examination.devices[0].schema.clone().unwrap();
    let said = schema.get(..16).unwrap();
    options.key = KeyText::parse(said).unwrap();
    let text = bundle(&options, Some(&examination), None);
    let escaped = serde_json::Value::from(said).to_string();
    assert!(!text.contains(said) && !text.contains(escaped.trim_matches('"')));
    assert!(text.contains("***"));
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
}
