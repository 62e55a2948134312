//! Device profiles.

use std::sync::Arc;

use super::*;
use crate::wire::SchemaPool;

#[test]
fn a_profile_needs_little() {
    let profile = Profile::parse(r#"{"devid":"d","name":"Lamp","value":[{"k":"a","v":1}]}"#);
    let profile = profile.unwrap();
    assert_eq!(
        (profile.device.as_str(), profile.name.as_deref()),
        ("d", Some("Lamp"))
    );
    assert!(profile.online);
    assert_eq!(profile.readings, [reading("a", "1")]);
    let off = Profile::parse(r#"{"devid":"d","online":false}"#).unwrap();
    assert!(!off.online && off.readings.is_empty());
}

#[test]
fn a_broken_profile_is_told_with_its_place() {
    let check = |text: &str, words: &str| {
        let message = Profile::parse(text).unwrap_err().to_string();
        assert!(message.starts_with(words), "{message}");
    };
    check(
        "{\n \"devid\": 7\n}",
        "line 2, column 11: devid is an integer",
    );
    check(
        "{\n\"devid\":\"d\",\n \"ü\":1, \"value\": [{\"k\":1}]}",
        "line 3, column 24: value[0].k",
    );
    check("{\"devid\":\"d\",}", "line 1, column 14: ");
    check("[]", "line 1, column 1: the message is an array");
    check("", "line 1, column 1: ");
    check(
        "{\"devid\":\"d\",\n\"online\":\"yes\"}",
        "line 2, column 10: online is a string",
    );
    check(&"[".repeat(100), "line 1, column 1: nested deeper");
}

#[test]
fn profiles_that_declare_the_same_share_one_schema() {
    let mut pool = SchemaPool::default();
    let mut parse = |id: &str, category: &str, code: &str| {
        let points = format!(r#"[{{"code":"{code}","type":"Boolean","values":"{{}}"}}]"#);
        let text = format!(
            r#"{{"devid":"{id}","category":"{category}","function":{points},"status":{points}}}"#
        );
        let profile = Profile::parse_pooled(&text, &mut pool).unwrap();
        assert_eq!(Profile::parse(&text), Ok(profile.clone()));
        profile
    };
    let first = parse("a", "kg", "switch_1");
    let same = parse("b", "kg", "switch_1");
    assert!(Arc::ptr_eq(&first.schema, &same.schema));
    for (category, code) in [("cz", "switch_1"), ("kg", "switch_2")] {
        assert_ne!(parse("c", category, code).schema, first.schema);
    }
    // What cannot be read is no schema for the next.
    for _ in 0..2 {
        let broken = r#"{"devid":"d","status":[{}]}"#;
        let error = Profile::parse_pooled(broken, &mut pool).unwrap_err();
        assert!(error.to_string().contains("status[0].code is missing"));
    }
}
