//! Stores that are broken: set aside to the byte, never overwritten.

use std::fs;

use super::*;

fn filled() -> Kept {
    let mut kept = Kept::new();
    kept.commit((0..5_000).map(|at| row(1 + at % 7, at * 1000, Some(at))));
    kept.reopen()
}

/// Returns the files that were set aside.
fn aside(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    files
        .filter(|path| path.to_string_lossy().contains("-damaged-"))
        .collect()
}

/// Opens what was made of a store, which must be set aside as it is, and an empty one made.
fn check_set_aside(damage: impl FnOnce(&Path)) {
    let Kept { folder, store, .. } = filled();
    store.close();
    let path = folder.path().join("history.db");
    damage(&path);
    let before = fs::read(&path).ok();
    let (store, loaded) = Store::open(&path).unwrap();
    assert!(loaded.is_empty());
    assert_eq!(count(&store), 0);
    let kept = aside(folder.path());
    assert!(!kept.is_empty());
    if let Some(before) = before {
        // Beside it may be its log.
        let kept = kept.iter().find(|it| it.extension().unwrap() == "db");
        let kept = fs::read(kept.unwrap()).unwrap();
        assert!(kept == before, "changed by setting it aside");
    }
}

#[test]
fn what_cannot_be_used_is_set_aside_as_it_is() {
    check_set_aside(|path| fs::write(path, b"not a database at all, but long enough").unwrap());
    check_set_aside(|path| fs::write(path, b"").unwrap());
    check_set_aside(|path| {
        let content = fs::read(path).unwrap();
        fs::write(path, &content[..content.len() / 2]).unwrap();
    });
    check_set_aside(|path| {
        let mut content = fs::read(path).unwrap();
        let middle = content.len() / 2;
        content[middle..middle + 9000].fill(0x5a);
        fs::write(path, content).unwrap();
    });
    check_set_aside(|path| {
        fs::remove_file(path).unwrap();
        Connection::open(path)
            .unwrap()
            .execute_batch("CREATE TABLE other (a)")
            .unwrap();
    });
    check_set_aside(|path| {
        fs::rename(path, path.with_file_name("elsewhere")).unwrap();
        fs::write(aside::log_of(path), b"a log alone").unwrap();
    });
}

#[test]
fn a_newer_programs_store_is_refused_and_left_alone() {
    let Kept { folder, store, .. } = filled();
    let newer = VERSION + 1;
    store
        .connection
        .pragma_update(None, "user_version", newer)
        .unwrap();
    store.close();
    let path = folder.path().join("history.db");
    let before = fs::read(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found, .. } if found == newer));
    assert!(crate::Reader::open(&path).is_err());
    assert!(fs::read(&path).unwrap() == before);
    assert!(aside(folder.path()).is_empty());
}

#[test]
fn what_breaks_while_it_is_open_is_replaced() {
    let Kept { folder, store, .. } = filled();
    let store = store.replace_damaged("a test says so").unwrap();
    assert_eq!(count(&store), 0);
    let kept = aside(folder.path());
    let kept = kept.iter().find(|it| it.extension().unwrap() == "db");
    let (kept, _) = Store::open(kept.unwrap()).unwrap();
    assert_eq!(count(&kept), 5_000);
}

#[test]
fn after_a_power_cut_in_the_midst_of_the_log_an_earlier_commit_is_whole() {
    let mut kept = Kept::new();
    for at in 0..12 {
        kept.commit([row(1, at * 1000, Some(at))]);
    }
    let log = fs::read(aside::log_of(&kept.path())).unwrap();
    let mut last = 0;
    for length in (0..=log.len()).step_by(4001).chain([log.len()]) {
        for rest in [&b""[..], &[0; 4096], &[0xa5; 5000]] {
            let cut = as_if_killed(&kept.path());
            let path = cut.path().join("history.db");
            fs::write(aside::log_of(&path), [&log[..length], rest].concat()).unwrap();
            let (store, _) = Store::open(&path).unwrap();
            let rows = count(&store);
            assert!(rows >= last && rows <= 12, "{rows} after {last}");
            last = rows;
            means::check(&store);
            assert!(aside(cut.path()).is_empty());
        }
    }
    assert_eq!(last, 12);
}
