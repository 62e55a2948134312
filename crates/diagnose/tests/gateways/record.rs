//! What is recorded of a gateway is what it says, and no key.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use hearthgate_diagnose::{RecordError, examine, record};
use hearthgate_gateway::VirtualHome;
use hearthgate_protocol::variants::Wire;
use hearthgate_protocol::wire::Profile;
use serde_json::Value;
use tempfile::TempDir;

use crate::rogue::{Fault, rogue};
use crate::support::{KEY, Setting, gateway, options};

fn files(folder: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    files
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            (name, fs::read_to_string(file.path()).unwrap())
        })
        .collect()
}

fn transcript(files: &BTreeMap<String, String>) -> Vec<Value> {
    let lines = files["transcript.jsonl"].lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn profiles_are_what_the_gateway_says_and_can_be_served() {
    for wire in Wire::ALL {
        let setting = Setting {
            wire: *wire,
            ..Setting::default()
        };
        let options = options(gateway(setting).await);
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("home");
        let pending = std::future::pending();
        let recorded = record(&options, &out, Duration::from_millis(50), pending).await;
        let recorded = recorded.unwrap();
        assert_eq!((recorded.profiles.len(), recorded.ended), (20, None));
        for facts in examine(&options).await.devices {
            let (schema, json) = facts.schema.unwrap();
            let text = fs::read_to_string(out.join(format!("{}.json", facts.device))).unwrap();
            assert_eq!(*Profile::parse(&text).unwrap().schema, schema);
            // `"function":[..],"status":[..]}` as it came.
            let from = json.find("\"function\":").unwrap() + "\"function\":".len();
            let function = json[from..].split(",\"status\":").next().unwrap();
            assert!(text.contains(&format!("\n  \"function\": {function},\n")));
        }
        VirtualHome::load(std::slice::from_ref(&out)).unwrap();
        let files = files(&out);
        assert!(files.values().all(|text| !text.contains(KEY)));
        let transcript = transcript(&files);
        assert_eq!(transcript[0]["format"], "hearthgate transcript");
        assert_eq!(transcript[0]["wire"], wire.name());
        let types: Vec<&str> = transcript[1..7]
            .iter()
            .map(|line| {
                assert!(line["ms"].is_u64());
                line["message"]["type"].as_str().unwrap()
            })
            .filter(|kind| *kind != "event")
            .collect();
        assert_eq!(types[..2], ["get_devices", "result"]);
    }
}

#[tokio::test]
async fn events_are_written_until_it_is_stopped() {
    let options = options(gateway(Setting::default()).await);
    let folder = TempDir::new().unwrap();
    let written = folder.path().join("transcript.jsonl");
    let stop = async {
        let has_event = || {
            fs::read_to_string(&written)
                .unwrap_or_default()
                .contains("\"event\"")
        };
        while !has_event() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let hour = Duration::from_secs(3600);
    let recorded = record(&options, folder.path(), hour, stop).await.unwrap();
    let events = transcript(&files(folder.path()))
        .iter()
        .filter(|line| line["message"]["type"] == "event")
        .count() as u64;
    assert!(recorded.events <= events && events > 0, "{events}");
}

#[tokio::test]
async fn nothing_is_overwritten_and_what_fails_is_named() {
    let options = options(rogue(Fault::WrongProof).await);
    let folder = TempDir::new().unwrap();
    let run = || {
        let second = Duration::from_secs(1);
        record(&options, folder.path(), second, std::future::pending())
    };
    let error = run().await.unwrap_err();
    assert!(error.to_string().starts_with("proof: "), "{error}");
    fs::write(folder.path().join("mine"), "").unwrap();
    assert!(matches!(run().await, Err(RecordError::NotEmpty(_))));
    assert_eq!(files(folder.path()).len(), 1);
}

#[tokio::test]
async fn a_gateway_that_hangs_up_ends_it_and_says_so() {
    let mut options = options(rogue(Fault::HangsUpAt("get_status")).await);
    options.timeout = Duration::from_secs(2);
    let folder = TempDir::new().unwrap();
    let second = Duration::from_secs(1);
    let error = record(&options, folder.path(), second, std::future::pending()).await;
    assert!(error.unwrap_err().to_string().contains("get_status"));
}
