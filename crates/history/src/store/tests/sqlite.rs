//! The file as the `sqlite3` program sees it (installed by `make unit`), while it is being written.

use std::process::Command;

use super::*;

fn ask(path: &Path, query: &str) -> String {
    let output = Command::new("sqlite3")
        .args(["-readonly", "-separator", "|"])
        .arg(path)
        .arg(query)
        .output()
        .expect("the program sqlite3, which `make unit` installs");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{query}: {problem}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_sqlite3_program_sees_the_documented_views() {
    let mut kept = Kept::new();
    let text = |value: &str, at| Row {
        value: Some(Value::parse(value).unwrap()),
        is_number: false,
        ..row(2, at, None)
    };
    let mut rows = batch([
        row(1, 0, Some(215)),
        row(1, 30_000, Some(-5)),
        row(1, 60_000, None),
        text("\"auto\"", 1_250),
        text("true", 2_000),
    ]);
    if let Some(series) = rows.series.get_mut(&2) {
        *series = SeriesRow {
            is_number: false,
            scale: 0,
            unit: String::new(),
            ..series.clone()
        };
    }
    let mut online = text("false", 0);
    online.series = 3;
    rows.rows.push_back(online);
    rows.series.insert(
        3,
        SeriesRow {
            subject: Subject::Online(DeviceRef::new("gw", "dev1")),
            ..rows.series[&2].clone()
        },
    );
    kept.store.commit(&rows, START).unwrap();
    let changes = ask(
        &kept.path(),
        "SELECT gateway, device, code, time, value, unit FROM changes ORDER BY device, code, time",
    );
    let expected = [
        "gw|dev1|$online|2023-11-14T23:00:00.000Z|false|",
        "gw|dev1|temp|2023-11-14T23:00:00.000Z|21.5|C",
        "gw|dev1|temp|2023-11-14T23:00:30.000Z|-0.5|C",
        "gw|dev1|temp|2023-11-14T23:01:00.000Z||C",
        "gw|dev2|temp|2023-11-14T23:00:01.250Z|auto|",
        "gw|dev2|temp|2023-11-14T23:00:02.000Z|true|",
    ];
    assert_eq!(changes.lines().collect::<Vec<_>>(), expected);
    for (view, start) in [
        ("minutes", "2023-11-14T23:00:00Z"),
        ("hours", "2023-11-14T23:00:00Z"),
        ("days", "2023-11-14T00:00:00Z"),
    ] {
        let query = format!("SELECT code, start, mean, min, max, count FROM {view} LIMIT 1");
        let found = ask(&kept.path(), &query);
        assert_eq!(found.trim(), format!("temp|{start}|10.5|-0.5|21.5|2"));
    }
    assert_eq!(ask(&kept.path(), "PRAGMA integrity_check").trim(), "ok");
}
