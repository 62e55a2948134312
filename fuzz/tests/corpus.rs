//! Replays the corpus of every target, without libFuzzer.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use hearthgate_fuzz::{TARGETS, Target};

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry of the corpus").path())
        .map(|path| (path.clone(), fs::read(path).expect("a file of the corpus")))
        .collect();
    files.sort();
    files
}

fn replay(name: &str) {
    let (_, run): (_, Target) = TARGETS
        .into_iter()
        .find(|(target, _)| *target == name)
        .expect("a target of this name");
    let files = corpus(name);
    assert!(files.len() >= 10, "the corpus of {name} is not there");
    let failed: Vec<_> = files
        .iter()
        .filter(|(_, data)| catch_unwind(AssertUnwindSafe(|| run(data))).is_err())
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(failed.is_empty(), "{name} fails on {failed:#?}");
}

#[test]
fn frame() {
    replay("frame");
}

#[test]
fn message() {
    replay("message");
}

#[test]
fn schema() {
    replay("schema");
}

#[test]
fn beacon() {
    replay("beacon");
}

#[test]
fn handshake() {
    replay("handshake");
}

/// The shortest inputs reach every way in.
#[test]
fn next_to_nothing_is_taken() {
    for (_, run) in TARGETS {
        run(b"");
        for first in 0..=u8::MAX {
            run(&[first]);
            run(&[first, first, first, first]);
        }
    }
}

/// The corpus is read at every build of CI: it stays small.
#[test]
fn the_corpus_is_small() {
    let files: Vec<_> = TARGETS.iter().flat_map(|(name, _)| corpus(name)).collect();
    let size: usize = files.iter().map(|(_, data)| data.len()).sum();
    assert!(size < 300 * 1024, "{size} bytes");
    for (name, _) in TARGETS {
        assert!(corpus(name).len() <= 64, "too many files for {name}");
    }
}
