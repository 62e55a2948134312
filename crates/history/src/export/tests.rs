//! What other programs are given.

use hearthgate_hub::{DeviceRef, Resolution, Step};

use super::*;
use crate::row::Row;
use crate::store::tests::{Kept, START, batch, row, series};

fn exported(kept: &Kept, subjects: &[Subject], step: Step, format: Format) -> Vec<String> {
    let reader = Reader::open(&kept.path()).unwrap();
    let query = HistoryQuery {
        subject: subjects[0].clone(),
        from: Timestamp(START),
        to: Timestamp(START + 3_600_000),
        resolution: Resolution::Exactly(step),
        limit: 1,
        cursor: None,
    };
    let mut out = Vec::new();
    let now = Timestamp(START + 60_000);
    export(&reader, &query, subjects, format, now, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A number that changes, and a text with all that can do harm, of a device of such a name.
fn kept() -> (Kept, Vec<Subject>) {
    let mut kept = Kept::new();
    let odd = Subject::Point(DeviceRef::new("g,w", "a b=\\"), "say \"x\"".into());
    let mut rows = batch([row(1, 0, Some(215)), row(1, 0, Some(220)), row(1, 50, None)]);
    rows.rows.push_back(Row {
        value: Some(Value::parse("\"a,\\\"b\\\"\\n\\\\\"").unwrap()),
        is_number: false,
        ..row(2, 7, None)
    });
    let mut text = series(2);
    (text.subject, text.is_number, text.scale) = (odd.clone(), false, 0);
    text.unit = String::new();
    rows.series.insert(2, text);
    kept.store.commit(&rows, START).unwrap();
    (kept, vec![series(1).subject, odd])
}

#[test]
fn comma_separated() {
    let (kept, subjects) = kept();
    let lines = exported(&kept, &subjects, Step::Raw, Format::Csv);
    let expected = [
        CSV_HEADER,
        "2023-11-14T23:00:00.000Z,gw,dev1,temp,21.5,215,C,event,false,raw,,,,,",
        "2023-11-14T23:00:00.000Z,gw,dev1,temp,22,220,C,event,false,raw,,,,,",
        "2023-11-14T23:00:00.050Z,gw,dev1,temp,,,C,event,false,raw,,,,,",
        "2023-11-14T23:00:00.007Z,\"g,w\",a b=\\,\"say \"\"x\"\"\",\"a,\"\"b\"\"",
        "\\\",\"\"\"a,\\\"\"b\\\"\"\\n\\\\\"\"\",,event,false,raw,,,,,",
    ];
    assert_eq!(lines, expected);
    let columns = CSV_HEADER.matches(',').count();
    assert_eq!(lines[1].matches(',').count(), columns);
    let hours = exported(&kept, &subjects[..1], Step::Hour, Format::Csv);
    assert_eq!(
        hours[1],
        "2023-11-14T23:00:00.000Z,gw,dev1,temp,,,C,,,hour,22,21.5,22,,2"
    );
    assert_eq!(hours[1].matches(',').count(), columns);
}

#[test]
fn json_lines() {
    let (kept, subjects) = kept();
    for step in [Step::Raw, Step::Minute] {
        for line in exported(&kept, &subjects, step, Format::JsonLines) {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert!(
                value["time"]
                    .as_str()
                    .unwrap()
                    .starts_with("2023-11-14T23:00:00")
            );
        }
    }
    let lines = exported(&kept, &subjects, Step::Raw, Format::JsonLines);
    assert_eq!(
        lines[0],
        "{\"time\":\"2023-11-14T23:00:00.000Z\",\"gateway\":\"gw\",\"device\":\"dev1\",\
         \"code\":\"temp\",\"value\":21.5,\"raw\":215,\"unit\":\"C\",\"source\":\"event\",\
         \"repeated\":false}"
    );
    let odd: serde_json::Value = serde_json::from_str(&lines[3]).unwrap();
    assert_eq!(odd["value"], "a,\"b\"\n\\");
    assert!(lines[2].contains("\"value\":null"));
}

#[test]
fn line_protocol() {
    let (kept, subjects) = kept();
    let lines = exported(&kept, &subjects, Step::Raw, Format::Line);
    let expected = [
        "hearthgate,gateway=gw,device=dev1,code=temp value=21.5 1700002800000000000",
        "hearthgate,gateway=gw,device=dev1,code=temp value=22 1700002800000000001",
        "hearthgate,gateway=g\\,w,device=a\\ b\\=/,code=say\\ \"x\" \
         state=\"a,\\\"b\\\" \\\\\" 1700002800007000000",
    ];
    assert_eq!(lines, expected);
    let hours = exported(&kept, &subjects[..1], Step::Hour, Format::Line);
    assert_eq!(
        hours,
        [
            "hearthgate_hour,gateway=gw,device=dev1,code=temp mean=22,min=21.5,max=22,count=2i \
          1700002800000000000"
        ]
    );
}
