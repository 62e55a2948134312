//! One sentence for each oddity, and none for what is tidy.

use hearthgate_protocol::model::Value;

use super::*;

fn point(kind: &str, values: &str) -> DataPoint {
    DataPoint::new("x", kind, Value::from(values))
}

fn found(schema: &Schema, readings: &[Reading]) -> String {
    let all: Vec<String> = oddities(schema, readings)
        .iter()
        .map(Oddity::to_string)
        .collect();
    all.join("\n")
}

fn check(kind: &str, values: &str, value: Option<&str>, expected: &str) {
    let readings: Vec<Reading> = value
        .map(|value| Reading::new("x", Value::parse(value).unwrap()))
        .into_iter()
        .collect();
    let schema = Schema::new("kg", Vec::new(), vec![point(kind, values)]);
    assert_eq!(found(&schema, &readings), expected, "{kind} {values}");
}

const TIDY: &str = r#"{"unit":"s","min":0,"max":100,"scale":0,"step":5}"#;

#[test]
fn tidy_declarations_and_values_are_not_odd() {
    check("Boolean", "{}", Some("true"), "");
    check("Integer", TIDY, Some("95"), "");
    check("Enum", r#"{"range":["a","b"]}"#, Some("\"b\""), "");
    check("String", r#"{"maxlen":3}"#, Some("\"abc\""), "");
    check("Bitmap", r#"{"label":["a","b"]}"#, Some("3"), "");
    check("Raw", r#"{"maxlen":3}"#, Some("\"AAEC\""), "");
    check("Json", "{}", Some("{\"a\":1}"), "");
}

#[test]
fn odd_declarations() {
    for (kind, values, expected) in [
        (
            "Integer",
            r#"{"unit":"s","min":"0","max":10,"scale":0,"step":1}"#,
            "x: min is the string \"0\", not a number",
        ),
        (
            "Integer",
            r#"{"unit":"s","min":10,"max":1,"scale":0,"step":1}"#,
            "x: min 10 is above max 1",
        ),
        (
            "Integer",
            r#"{"unit":"","min":0,"max":10,"scale":1,"step":1}"#,
            "x: scale 1 and no unit: what is measured is not said",
        ),
        (
            "Integer",
            r#"{"unit":"s","min":0,"max":10,"scale":19,"step":0}"#,
            "x: step 0 is not above 0\nx: scale 19 is no number of decimal places, taken as 0",
        ),
        (
            "Integer",
            r#"{"unit":"s","min":0,"max":10,"step":11}"#,
            "x: step 11 is more than max - min = 10",
        ),
        (
            "Integer",
            r#"{"min":"low","max":[1]}"#,
            "x: min is the string \"low\", not a number\nx: min is low, which cannot be read\n\
             x: max is [1], not a number\nx: an Integer without min or max: no limit is known",
        ),
        ("Integer", "{min:0}", "x: `values` holds no JSON object"),
        (
            "Enum",
            "{}",
            "x: an Enum without a range: any word is taken",
        ),
        (
            "Enum",
            r#"{"range":["a","a",1]}"#,
            "x: range holds \"a\" twice\nx: range holds 1, not a string",
        ),
        (
            "Bitmap",
            "{}",
            "x: a Bitmap without labels and without maxlen",
        ),
        (
            "Bitmap",
            r#"{"maxlen":64}"#,
            "x: a Bitmap of 64 bits, more than 63",
        ),
        ("Colour", "{}", "x: has the unknown type `Colour`"),
    ] {
        check(kind, values, None, expected);
    }
    let object = DataPoint::new("x", "Boolean", Value::parse("{}").unwrap());
    let schema = Schema::new("", Vec::new(), vec![object]);
    assert_eq!(
        found(&schema, &[]),
        "the category is empty\nx: `values` is an object, not a string that holds JSON"
    );
}

#[test]
fn odd_values() {
    for (kind, values, value, expected) in [
        (
            "Boolean",
            "{}",
            "1",
            "x: its value 1 is an integer, expected a boolean",
        ),
        (
            "Integer",
            TIDY,
            "\"5\"",
            "x: its value \"5\" is a string, expected an integer",
        ),
        ("Integer", TIDY, "105", "x: its value 105 is above max 100"),
        ("Integer", TIDY, "7", "x: its value 7 is off step 5 from 0"),
        (
            "Enum",
            r#"{"range":["a","b"]}"#,
            "\"c\"",
            "x: its value \"c\" is not in range a, b",
        ),
        (
            "Bitmap",
            r#"{"label":["a"]}"#,
            "2",
            "x: its value 2 has more than 1 bits",
        ),
        (
            "Raw",
            "{}",
            "\"?\"",
            "x: its value \"?\" is no standard base64 with padding",
        ),
    ] {
        check(kind, values, Some(value), expected);
    }
}

#[test]
fn what_the_directions_disagree_about() {
    let named = |code: &str, kind: &str| DataPoint::new(code, kind, Value::from("{}"));
    let schema = Schema::new(
        "kg",
        vec![
            named("both", "Boolean"),
            named("write", "Boolean"),
            named("twice", "Json"),
        ],
        vec![
            named("both", "Json"),
            named("read", "Boolean"),
            named("twice", "Json"),
        ],
    );
    let readings = [
        Reading::new("read", Value::from(true)),
        Reading::new("read", Value::from(true)),
        Reading::new("write", Value::from(true)),
        Reading::new("alien", Value::from(1)),
    ];
    assert_eq!(
        found(&schema, &readings),
        "both: is Boolean in `function` and Json in `status`\n\
         write: takes writes and never reports (no `status` for it)\n\
         read: is reported twice in one status\n\
         write: is reported, though only `function` declares it\n\
         alien: is reported and not declared"
    );
}

#[test]
fn a_device_that_is_odd_throughout_is_cut() {
    let points =
        (0..1000).map(|number| DataPoint::new(format!("p{number}"), "Colour", Value::from("{}")));
    let list = oddities(&Schema::new("kg", Vec::new(), points.collect()), &[]);
    assert_eq!(list.len(), ODDITIES_MAX + 1);
    assert_eq!(list.last().unwrap().to_string(), "and 800 more");
}
