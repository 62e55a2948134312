//! When a write counts as done, and what a disk that fails does.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use hearthgate_protocol::wire::ErrorCode;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::timeout;

use super::super::tests::{as_if_killed, bright, lamp, point, some, whole};
use super::super::{VALUES_FILE, ValueStore};
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// What a command's requester and the registry hold of its answer.
struct Asked {
    outcome: oneshot::Receiver<Result<(), CommandFault>>,
    applied: Ack,
    answer: Answer,
}

fn ask() -> Asked {
    let (ack, outcome) = oneshot::channel();
    let (applied, answer) = Answer::after_both("lamp".into(), Ack(ack));
    Asked {
        outcome,
        applied,
        answer,
    }
}

fn to(value: i64) -> Vec<Record> {
    vec![some(
        "lamp",
        vec![point("bright", &value.to_string(), value)],
    )]
}

/// A thread that does not run, so that a test does each step, and its channel.
fn still(store: ValueStore) -> (Thread, Sender<Job>) {
    let (sender, jobs) = channel();
    let thread = Thread {
        store,
        jobs,
        batch: Batch::default(),
        due: None,
        trouble: false,
    };
    (thread, sender)
}

fn job(records: Vec<Record>, answer: Option<Answer>) -> Job {
    Job {
        records,
        answer,
        _room: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
    }
}

fn limit(store: &ValueStore, pages: i64) {
    let connection = &store.connection;
    connection
        .pragma_update(None, "max_page_count", pages)
        .unwrap();
}

/// More than fits where there is a limit.
fn large() -> Vec<Record> {
    let text = format!("\"{}\"", "x".repeat(100_000));
    vec![whole("large", vec![point("note", &text, 9)])]
}

#[tokio::test]
async fn success_is_told_when_the_value_is_both_applied_and_stored() {
    let folder = tempfile::tempdir().unwrap();
    let writer = ValueWriter::start(lamp(folder.path(), 0));
    let mut asked = ask();
    writer.keep(to(7), Some(asked.answer)).await;
    let stored = async {
        while bright(as_if_killed(folder.path()).path()) != Some(7) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, stored).await.unwrap();
    assert_eq!(asked.outcome.try_recv(), Err(TryRecvError::Empty));
    asked.applied.succeed();
    let outcome = timeout(PATIENCE, asked.outcome).await.unwrap();
    assert_eq!(outcome, Ok(Ok(())));
}

#[tokio::test]
async fn whatever_was_told_is_there_if_the_process_is_killed_then() {
    let folder = tempfile::tempdir().unwrap();
    let writer = ValueWriter::start(lamp(folder.path(), 0));
    for value in 1..200 {
        let asked = ask();
        asked.applied.succeed();
        writer.keep(to(value), Some(asked.answer)).await;
        assert_eq!(asked.outcome.await, Ok(Ok(())));
        assert_eq!(bright(as_if_killed(folder.path()).path()), Some(value));
    }
}

#[tokio::test]
async fn without_another_write_the_last_one_is_brought_to_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let writer = ValueWriter::start(lamp(folder.path(), 0));
    writer.keep(to(7), None).await;
    // What was brought there is in the store itself, not only in its log.
    let alone = || {
        let copy = tempfile::tempdir().unwrap();
        let store = Path::new(VALUES_FILE);
        fs::copy(folder.path().join(store), copy.path().join(store)).unwrap();
        bright(copy.path())
    };
    let on_disk = async {
        while alone() != Some(7) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, on_disk).await.unwrap();
    writer.end().await;
}

#[tokio::test]
async fn the_end_waits_until_all_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let writer = ValueWriter::start(lamp(folder.path(), 0));
    for value in 1..3000 {
        writer.keep(to(value), None).await;
    }
    writer.end().await;
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(bright(folder.path()), Some(2999));
}

#[test]
fn all_that_waits_is_one_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let (mut thread, jobs) = still(lamp(folder.path(), 0));
    let log = folder.path().join("values.db-wal");
    let before = fs::metadata(&log).unwrap().len();
    let mut outcomes = Vec::new();
    for value in 1..=500 {
        let asked = ask();
        asked.applied.succeed();
        outcomes.push(asked.outcome);
        jobs.send(job(to(value), Some(asked.answer))).unwrap();
    }
    let first = thread.next().unwrap();
    thread.handle(first);
    assert!(
        outcomes
            .iter_mut()
            .all(|told| told.try_recv() == Ok(Ok(())))
    );
    assert_eq!(bright(as_if_killed(folder.path()).path()), Some(500));
    // One page and its header.
    assert_eq!(fs::metadata(&log).unwrap().len() - before, 4096 + 24);
}

#[test]
fn a_full_disk_fails_the_write_and_what_was_set_is_stored_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let (mut thread, _jobs) = still(lamp(folder.path(), 1));
    limit(&thread.store, 1);
    let mut asked = ask();
    asked.applied.succeed();
    thread.handle(job([to(2), large()].concat(), Some(asked.answer)));
    let fault = asked.outcome.try_recv().unwrap().unwrap_err();
    assert_eq!(fault.code, ErrorCode::Internal);
    assert_eq!(
        fault.message,
        "device lamp: the value was set, but it will not outlive the gateway: \
         database or disk is full"
    );
    assert!(thread.trouble && thread.due.is_some());
    thread.bring_to_disk();
    assert!(thread.trouble && thread.due.is_some());
    assert_eq!(bright(as_if_killed(folder.path()).path()), Some(1));
    limit(&thread.store, 1 << 20);
    thread.bring_to_disk();
    assert!(!thread.trouble && thread.due.is_none() && thread.batch.is_empty());
    assert_eq!(bright(as_if_killed(folder.path()).path()), Some(2));
}

#[test]
fn a_registry_that_has_gone_leaves_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let (mut thread, _jobs) = still(lamp(folder.path(), 1));
    let mut asked = ask();
    drop(asked.applied);
    thread.handle(job(to(2), Some(asked.answer)));
    assert_eq!(asked.outcome.try_recv(), Err(TryRecvError::Closed));
}
