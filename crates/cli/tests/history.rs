//! `hearthgate history` as its user runs it, over a file that a hub has kept.
#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::process::{Command, Output};

use hearthgate_history::testing::Filler;
use tempfile::TempDir;

/// 2026-01-31T08:00:00Z.
const START: i64 = 1_769_846_400_000;
const MINUTE: i64 = 60_000;

/// A state folder with the history of two thermometers.
fn kept() -> TempDir {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("hearthgate/history.db");
    let mut filler = Filler::open(&path).unwrap();
    filler.commit((0..240).map(|n| (1 + n % 2, START + n / 2 * MINUTE, 200 + n % 60)));
    filler.close(START + 120 * MINUTE);
    state
}

fn history(state: &TempDir, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hearthgate"))
        .arg("history")
        .args(args)
        .env_clear()
        .env("XDG_STATE_HOME", state.path())
        .env("XDG_CONFIG_HOME", state.path())
        .env("TZ", "UTC")
        .output()
        .unwrap()
}

fn out(state: &TempDir, args: &[&str]) -> String {
    let output = history(state, args);
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {problem}");
    String::from_utf8(output.stdout).unwrap()
}

const TIME: [&str; 4] = [
    "--since",
    "2026-01-31T08:00Z",
    "--until",
    "2026-01-31T10:00:00Z",
];

fn of_time<'a>(args: &[&'a str]) -> Vec<&'a str> {
    args.iter().copied().chain(TIME).collect()
}

#[test]
fn it_lists_what_there_is() {
    let state = kept();
    let all = out(&state, &[]);
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 3, "{all}");
    assert!(lines[1].starts_with("gw       dev1"), "{all}");
    assert!(lines[1].contains("120"), "{all}");
    let one = out(&state, &["dev2"]);
    assert!(one.contains("temp") && !one.contains("dev1"), "{one}");
    let json: serde_json::Value = serde_json::from_str(&out(&state, &["--json"])).unwrap();
    assert_eq!(json[1]["device"], "dev2");
    assert_eq!(json[1]["changes"], 120);
    assert_eq!(json[1]["first"], "2026-01-31T08:00:00.000Z");
}

#[test]
fn people_see_a_line_of_bars_and_a_table_without_colours_in_a_pipe() {
    let state = kept();
    let shown = out(&state, &of_time(&["dev1", "temp", "--resolution", "hour"]));
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "gw/dev1  temp");
    assert!(
        lines[1].chars().count() >= 60 && lines[1].contains('▁'),
        "{shown}"
    );
    assert_eq!(lines[2], "2026-01-31 08:00:00 to 2026-01-31 10:00:00");
    assert_eq!(lines[3], "min 20.0 C, max 25.8 C, last 25.8 C");
    assert_eq!(
        lines[5],
        "FROM                 MEAN     MIN     MAX     CHANGES"
    );
    assert!(
        lines[6].starts_with("2026-01-31 08:00:00  22.90 C  20.0 C  25.8 C  60"),
        "{shown}"
    );
    assert_eq!(lines.len(), 8);
    assert!(!shown.contains('\x1b'));
}

#[test]
fn other_programs_get_all_of_it() {
    let state = kept();
    let csv = out(&state, &of_time(&["dev1", "temp", "--export", "csv"]));
    assert_eq!(csv.lines().count(), 121);
    assert!(csv.contains("\r\n2026-01-31T08:00:00.000Z,gw,dev1,temp,20,200,C,event,false,raw,"));
    let line = out(&state, &of_time(&["--export", "line"]));
    assert_eq!(line.lines().count(), 240);
    let jsonl = out(
        &state,
        &of_time(&["dev2", "--export", "jsonl", "--resolution", "minute"]),
    );
    assert_eq!(jsonl.lines().count(), 120);
    let json = out(&state, &of_time(&["dev2", "temp", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 120);
    assert_eq!(json[0]["value"], 20.1);
    let none = out(
        &state,
        &[
            "dev2",
            "temp",
            "--json",
            "--until",
            "2026-01-01",
            "--since",
            "2025-12-31",
        ],
    );
    assert_eq!(none, "[]\n");
}

#[test]
fn what_is_wrong_is_said_with_the_next_step() {
    let state = kept();
    for (args, expected) in [
        (&["nobody"][..], "`hearthgate history` lists what there is"),
        (&["dev"], "could be 2: gw/dev1, gw/dev2"),
        (&["dev1", "humidity"], "there is of temp"),
        (&["--since", "soon"], "write 90m, 24h"),
        (&["--since", "1h", "--until", "2h"], "later than --until"),
        (&["--history", "/nonexistent"], "`hearthgate hub` keeps one"),
    ] {
        let output = history(&state, args);
        let problem = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {problem}");
        assert!(problem.contains(expected), "{args:?}: {problem}");
        assert!(output.stdout.is_empty());
    }
    let other = state.path().join("other.db");
    std::fs::write(&other, "something else").unwrap();
    let output = history(
        &state,
        &["--history", other.to_str().expect("a plain name")],
    );
    assert_eq!(output.status.code(), Some(1));
}
