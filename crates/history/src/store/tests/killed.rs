//! A real process that is killed while it writes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

const CHILD: &str = "HEARTHGATE_HISTORY_TEST_CHILD";
const NAME: &str = "store::tests::killed::the_process_that_is_killed";

/// What the child process does: commits for ever, and says after each commit how many there were.
#[test]
#[ignore = "it is the other process of the test below"]
fn the_process_that_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let path = PathBuf::from(path);
    let _lock = lock(&path).unwrap();
    let (mut store, _) = Store::open(&path).unwrap();
    for commit in count(&store) / 50.. {
        let rows = (0..50).map(|n| row(n % 5, commit * 9_000 + n, Some(n)));
        store.commit(&batch(rows), START).unwrap();
        println!("{CHILD} {}", commit + 1);
    }
}

#[test]
fn a_process_that_is_killed_loses_no_commit_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let mut told = 0;
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--ignored", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        let target = round * 40;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            assert!(Instant::now() < until, "the other process is too slow");
            let line = line.unwrap();
            if let Some((_, number)) = line.split_once(&format!("{CHILD} ")) {
                told = number.parse().unwrap();
                if told >= target {
                    break;
                }
            }
        }
        // SIGKILL, in the midst of the next commits.
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(told >= target, "it ended at {told}");
        let (store, loaded) = Store::open(&path).unwrap();
        let rows = count(&store);
        assert!(rows >= told * 50, "{rows} rows after {told} commits");
        assert_eq!(rows % 50, 0, "a part of a commit");
        assert_eq!(loaded.len(), 5);
        means::check(&store);
        assert_eq!(
            std::fs::read_dir(folder.path())
                .unwrap()
                .filter(|it| {
                    it.as_ref()
                        .unwrap()
                        .file_name()
                        .to_string_lossy()
                        .contains("damaged")
                })
                .count(),
            0
        );
    }
}
