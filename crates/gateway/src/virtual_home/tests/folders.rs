//! Files and folders that come, go, move and are replaced.

use std::fs;

use super::{Served, load, profile, registry, state};

#[tokio::test]
async fn a_new_file_is_a_new_device_and_a_removed_one_takes_it_along() {
    let home = Served::start(&["a"]);
    home.write("n.json", &profile("n", true, 1));
    assert_eq!(home.until("\"n\"").await, [registry("n", 1)]);
    home.remove("n.json");
    let events = home.until(&registry("n", 0)).await;
    assert_eq!(events, [registry("n", 1), registry("n", 0)]);
}

#[tokio::test]
async fn a_renamed_file_changes_nothing() {
    let home = Served::start(&["a", "b"]);
    fs::rename(home.path("a.json"), home.path("z.json")).unwrap();
    home.write("b.json", &profile("b", true, 2));
    let events = home.until(&state("b", "temp", "2")).await;
    assert_eq!(events.len(), 1, "{events:?}");
    home.write("z.json", &profile("a", true, 3));
    home.until(&state("a", "temp", "3")).await;
}

#[tokio::test]
async fn a_file_that_an_editor_replaces_is_an_edit() {
    let home = Served::start(&["a"]);
    for temp in 2..5 {
        home.write("a.json.new", &profile("a", true, temp));
        fs::rename(home.path("a.json.new"), home.path("a.json")).unwrap();
        home.until(&state("a", "temp", &temp.to_string())).await;
    }
    assert_eq!(home.events().len(), 3);
}

#[tokio::test]
async fn a_file_that_is_named_alone_is_watched_also_when_it_is_replaced_or_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    fs::write(&one, profile("a", true, 1)).unwrap();
    fs::write(&two, profile("b", true, 1)).unwrap();
    let files = load(&[&one, &two]);
    let home = Served::run(folder, files);
    home.write("new", &profile("a", true, 2));
    fs::rename(home.path("new"), &one).unwrap();
    home.until(&state("a", "temp", "2")).await;
    home.remove("one");
    home.until(&registry("a", 0)).await;
    // The other one is looked at all the same.
    home.write("two", &profile("b", true, 5));
    home.until(&state("b", "temp", "5")).await;
    home.write("one", &profile("a", true, 3));
    home.until(&registry("a", 1)).await;
}

#[tokio::test]
async fn a_folder_that_is_removed_and_comes_back_is_watched_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("devices");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.json"), profile("a", true, 1)).unwrap();
    let files = load(&[&folder]);
    // Also where it is gone before it is watched for the first time.
    fs::remove_dir_all(&folder).unwrap();
    let home = Served::run(parent, files);
    home.until(&registry("a", 0)).await;
    for temp in [2, 4] {
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.json"), profile("a", true, temp)).unwrap();
        home.until_last(&registry("a", 1)).await;
        let edited = temp + 1;
        fs::write(folder.join("a.json"), profile("a", true, edited)).unwrap();
        home.until(&state("a", "temp", &edited.to_string())).await;
        fs::remove_dir_all(&folder).unwrap();
        home.until_last(&registry("a", 0)).await;
    }
}

#[tokio::test]
async fn a_folder_that_another_one_takes_the_place_of_is_watched_there() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, next) = (parent.path().join("devices"), parent.path().join("next"));
    for (folder, temp) in [(&folder, 1), (&next, 2)] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("a.json"), profile("a", true, temp)).unwrap();
    }
    let files = load(&[&folder]);
    let home = Served::run(parent, files);
    // What it has now tells that the watch is on.
    fs::write(folder.join("b.json"), profile("b", true, 1)).unwrap();
    home.until(&registry("b", 1)).await;
    fs::rename(&folder, home.path("old")).unwrap();
    fs::rename(&next, &folder).unwrap();
    home.until(&state("a", "temp", "2")).await;
    fs::write(folder.join("a.json"), profile("a", true, 3)).unwrap();
    home.until(&state("a", "temp", "3")).await;
}

#[tokio::test]
async fn what_is_no_profile_by_its_name_is_not_looked_at() {
    let home = Served::start(&["a"]);
    home.write(".b.json", &profile("b", true, 1));
    home.write("c.json~", &profile("c", true, 1));
    fs::create_dir(home.path("d.json")).unwrap();
    home.write("a.json", &profile("a", true, 2));
    let events = home.until(&state("a", "temp", "2")).await;
    assert_eq!(events.len(), 1, "{events:?}");
}
