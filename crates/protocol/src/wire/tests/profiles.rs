//! Device profiles.

use super::*;

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
