//! What the edit of a file does.

use std::fs;

use hearthgate_protocol::wire::ErrorCode;

use super::{Served, load, profile, registry, state};
use crate::testing::{status, write};

#[tokio::test]
async fn an_edited_value_is_a_state_change() {
    let home = Served::start(&["a"]);
    home.write("a.json", &profile("a", true, 7));
    assert_eq!(home.until("temp").await, [state("a", "temp", "7")]);
}

#[tokio::test]
async fn an_edited_online_is_an_online_event_and_values_come_along() {
    let home = Served::start(&["a"]);
    home.write("a.json", &profile("a", false, 7));
    let gone = r#""online_updated",{"devid":"a","state":false,"value":[{"k":"temp","v":7}]}}"#;
    assert_eq!(home.until("online_updated").await, [gone]);
    let error = home.set(&[write("a", "temp", 1)]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeviceOffline);
    home.write("a.json", &profile("a", true, 7));
    let back = r#""online_updated",{"devid":"a","state":true,"value":[{"k":"switch_1","v":false},{"k":"temp","v":7}]}}"#;
    assert_eq!(home.until("\"state\":true").await, [gone, back]);
}

#[tokio::test]
async fn a_written_value_stays_unless_the_file_gives_another() {
    let home = Served::start(&["a"]);
    home.set(&[write("a", "switch_1", true)]).await.unwrap();
    home.write("a.json", &profile("a", true, 7));
    home.until(&state("a", "temp", "7")).await;
    let answer = home.answer(&status(&["a"]));
    let values = r#""value":[{"k":"switch_1","v":true},{"k":"temp","v":7}]"#;
    assert!(answer.contains(values), "{answer}");
}

#[tokio::test]
async fn an_edited_schema_is_a_registry_update_and_written_values_stay() {
    let home = Served::start(&["a"]);
    home.set(&[write("a", "switch_1", true)]).await.unwrap();
    let wider = profile("a", true, 1).replace("100", "200");
    home.write("a.json", &wider);
    home.until(&registry("a", 1)).await;
    assert_eq!(home.set(&[write("a", "temp", 150)]).await, Ok(()));
    let answer = home.answer(&status(&["a"]));
    assert!(answer.contains(r#"{"k":"switch_1","v":true}"#), "{answer}");
}

#[tokio::test]
async fn a_broken_file_keeps_its_last_good_version_until_it_is_mended() {
    let home = Served::start(&["a", "b"]);
    home.write("a.json", "{\"devid\":");
    home.write("b.json", &profile("b", true, 2));
    assert_eq!(home.until(&state("b", "temp", "2")).await.len(), 1);
    home.set(&[write("a", "temp", 5)]).await.unwrap();
    home.write("a.json", &profile("a", true, 9));
    home.until(&state("a", "temp", "9")).await;
}

#[tokio::test]
async fn a_second_file_of_a_device_is_ignored_until_the_first_is_gone() {
    let home = Served::start(&["a", "b"]);
    // It would come first by its name.
    home.write("0.json", &profile("a", true, 77));
    home.write("b.json", &profile("b", true, 2));
    assert_eq!(home.until(&state("b", "temp", "2")).await.len(), 1);
    home.remove("a.json");
    let events = home.until(&state("a", "temp", "77")).await;
    assert_eq!(events.len(), 2, "{events:?}");
}

#[tokio::test]
async fn another_devid_in_a_file_is_another_device() {
    let home = Served::start(&["a"]);
    home.write("a.json", &profile("x", true, 1));
    let mut events = home.until(&registry("a", 0)).await;
    events.sort();
    assert_eq!(events, [registry("a", 0), registry("x", 1)]);
}

#[tokio::test]
async fn files_that_exchange_their_devids_exchange_their_devices() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
    put("1.json", &profile("a", true, 1));
    put("2.json", &profile("b", true, 2));
    let mut home = load(&[folder.path()]);
    put("1.json", &profile("b", true, 3));
    put("2.json", &profile("a", true, 4));
    assert_eq!(home.reload().len(), 2);
    let temp = |id: &str| {
        home.home
            .device(id)
            .unwrap()
            .point("temp")
            .unwrap()
            .value
            .as_i64()
    };
    assert_eq!((temp("a"), temp("b")), (Some(4), Some(3)));
}

#[tokio::test]
async fn a_new_file_gets_the_device_that_another_file_gave_up() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
    put("1.json", &profile("a", true, 1));
    let mut home = load(&[folder.path()]);
    put("1.json", &profile("b", true, 1));
    put("0.json", &profile("a", true, 5));
    home.reload();
    let mut ids: Vec<&str> = home
        .home
        .devices()
        .map(|device| device.id().as_str())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, ["a", "b"]);
}

#[tokio::test]
async fn a_file_that_takes_a_served_devid_keeps_its_own_device() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
    put("1.json", &profile("a", true, 1));
    put("2.json", &profile("b", true, 2));
    let mut home = load(&[folder.path()]);
    put("1.json", &profile("b", true, 3));
    assert!(home.reload().is_empty());
    assert_eq!(home.home.len(), 2);
}

#[tokio::test]
async fn a_write_that_was_checked_before_the_edit_is_refused_by_the_device() {
    let home = Served::start(&["a", "b"]);
    let mut driver = load(&[home.folder.path()]);
    home.write("a.json", &profile("a", false, 1));
    home.remove("b.json");
    driver.reload();
    let readings = write("a", "temp", 5).readings;
    let fault = driver.command(&"a".into(), readings.clone()).unwrap_err();
    assert_eq!(fault.code, ErrorCode::DeviceOffline);
    let fault = driver.command(&"b".into(), readings).unwrap_err();
    assert_eq!(fault.code, ErrorCode::UnknownDevice);
}

#[tokio::test]
async fn writes_without_a_pause_do_not_keep_an_edit_from_being_noticed() {
    let home = Served::start(&["a", "b"]);
    // Whoever takes writes is watching already.
    home.set(&[write("a", "temp", 5)]).await.unwrap();
    home.write("b.json", &profile("b", true, 2));
    let writes = async {
        loop {
            home.set(&[write("a", "temp", 5)]).await.unwrap();
            // Thousands a second are not needed, some in each quiet time are.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let wanted = state("b", "temp", "2");
    tokio::select! {
        () = writes => {}
        _ = home.until(&wanted) => {}
    }
}

#[tokio::test]
async fn an_edit_between_loading_and_serving_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    fs::write(&file, profile("a", true, 1)).unwrap();
    let home = load(&[folder.path()]);
    fs::write(&file, profile("a", true, 2)).unwrap();
    let home = Served::run(folder, home);
    home.until(&state("a", "temp", "2")).await;
}
