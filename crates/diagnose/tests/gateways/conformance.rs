//! Our own gateway keeps the rules, and writes happen only where they were asked for.

use std::time::Duration;

use crate::support::{Setting, gateway, impostor, options, silence};
use hearthgate_diagnose::{LAYERS, Outcome, Report, examine};
use hearthgate_protocol::variants::Wire;

async fn conformance(wire: Wire, write: Option<&str>) -> Report {
    let setting = Setting {
        wire,
        ..Setting::default()
    };
    let mut options = options(gateway(setting).await);
    options.conformance = true;
    options.event_timeout = Duration::from_secs(10);
    options.write = write.map(Into::into);
    let examination = examine(&options).await;
    let (entries, _) = examination.transcript.entries();
    let wrote = entries.iter().any(|entry| entry.what == "set_value");
    assert_eq!(wrote, write.is_some());
    examination.report
}

#[tokio::test(flavor = "multi_thread")]
async fn our_gateway_keeps_every_rule_in_every_wire_encoding() {
    for wire in Wire::ALL {
        let report = conformance(*wire, None).await;
        assert!(!report.failed(), "{report:#?}");
        let names: Vec<&str> = report.checks.iter().map(|check| check.name).collect();
        assert_eq!(names[..LAYERS.len()], LAYERS);
        for check in report.checks.iter().skip(LAYERS.len()) {
            let skipped = check.name.starts_with("write_")
                || check.name == "undecryptable_closed" && *wire == Wire::Plain;
            if check.name == "event_ids_count" && check.outcome == Outcome::Skip {
                // The simulated home had nothing to tell in the time.
                continue;
            }
            let expected = if skipped {
                Outcome::Skip
            } else {
                Outcome::Pass
            };
            assert_eq!(check.outcome, expected, "{wire}: {check:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_named_gets_the_value_that_it_has() {
    let all = conformance(Wire::Binary, None).await;
    assert!(all.check("write_same_value").is_some());
    let address = gateway(Setting::default()).await;
    let mut options = options(address);
    let devices = examine(&options).await.devices;
    let light = devices
        .iter()
        .find(|facts| {
            facts
                .schema
                .as_ref()
                .unwrap()
                .0
                .function("switch_led")
                .is_some()
        })
        .unwrap();
    options.conformance = true;
    options.write = Some(light.device.clone());
    let report = examine(&options).await.report;
    assert!(!report.failed(), "{report:#?}");
    for name in ["write_same_value", "write_event"] {
        assert_eq!(
            report.check(name).unwrap().outcome,
            Outcome::Pass,
            "{report:#?}"
        );
    }
}

#[tokio::test]
async fn a_device_that_is_not_there_is_said_so() {
    let report = conformance(Wire::Binary, None).await;
    assert_eq!(report.check("write_event").unwrap().outcome, Outcome::Skip);
    let mut options = options(gateway(Setting::default()).await);
    options.conformance = true;
    options.write = Some("nobody".into());
    let report = examine(&options).await.report;
    let check = report.check("write_same_value").unwrap();
    assert_eq!(check.outcome, Outcome::Fail);
    assert!(check.detail.contains("no device nobody"), "{check:?}");
}

#[tokio::test]
async fn where_a_layer_fails_the_rules_are_skipped_and_named() {
    let mut options = options(impostor(silence).await);
    options.timeout = Duration::from_millis(200);
    options.conformance = true;
    let report = examine(&options).await.report;
    assert!(report.checks.len() > LAYERS.len());
    for check in report.checks.iter().skip(4) {
        assert_eq!(check.outcome, Outcome::Skip, "{check:?}");
    }
}
