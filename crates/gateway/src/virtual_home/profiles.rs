//! Profile files: loading them, and keeping the last good version of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hearthgate_protocol::model::DeviceId;
use hearthgate_protocol::wire::{Profile, ProfileError, SchemaPool};
use tracing::warn;

use super::edits::{Edit, edits};
use crate::values::FileTimes;

/// Why profiles cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ProfilesError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}; check --devices", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Some files are broken, each on a line of its own.
    #[error("{}", list(.0))]
    Broken(Vec<BrokenProfile>),
}

/// A file that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenProfile {
    /// It is no profile.
    #[error("{}: {error}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        error: ProfileError,
    },
    /// It is not UTF-8.
    #[error("{}: not UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Another file has the same device.
    #[error("{}: device {device} is in {} already; give one of them another devid", path.display(), other.display())]
    Double {
        /// The file.
        path: PathBuf,
        /// The file that was first.
        other: PathBuf,
        /// The device.
        device: DeviceId,
    },
}

fn list(broken: &[BrokenProfile]) -> String {
    broken
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The files below some paths, each with its last good version.
#[derive(Debug)]
pub(super) struct ProfileFiles {
    roots: Vec<PathBuf>,
    folders: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Loaded>,
    /// Files that are broken, by their content then: told once each.
    told: BTreeMap<PathBuf, Print>,
}

#[derive(Debug, Clone)]
struct Loaded {
    content: Print,
    profile: Profile,
    /// When this content was read first.
    times: FileTimes,
}

/// What tells one content of a file from another. The content itself is not kept: of a thousand profiles
/// that would be more than all their devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print(u64);

impl Print {
    fn of(content: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(content);
        Self(hasher.finish())
    }
}

impl ProfileFiles {
    pub(super) fn load(roots: &[PathBuf]) -> Result<Self, ProfilesError> {
        let mut files = Self {
            roots: roots.to_vec(),
            folders: roots.iter().map(|root| folder(root)).collect(),
            files: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        let mut broken = Vec::new();
        let mut schemas = SchemaPool::default();
        let mut devices: BTreeMap<DeviceId, PathBuf> = BTreeMap::new();
        for path in list_files(roots)? {
            let (times, bytes) = read(&path).map_err(|source| ProfilesError::Read {
                path: path.clone(),
                source,
            })?;
            match parse(&path, times, bytes, &mut schemas) {
                Ok(loaded) => {
                    let device = loaded.profile.device.clone();
                    if let Some(other) = devices.get(&device) {
                        let other = other.clone();
                        broken.push(BrokenProfile::Double {
                            path,
                            other,
                            device,
                        });
                    } else {
                        devices.insert(device, path.clone());
                        files.files.insert(path, loaded);
                    }
                }
                Err(problem) => broken.push(problem),
            }
        }
        if broken.is_empty() {
            Ok(files)
        } else {
            Err(ProfilesError::Broken(broken))
        }
    }

    /// Returns the folders to watch: of a file the one that it is in, since editors replace files.
    pub(super) fn folders(&self) -> BTreeSet<PathBuf> {
        self.folders.clone()
    }

    pub(super) fn profiles(&self) -> impl Iterator<Item = (&Profile, FileTimes)> {
        profiles(&self.files)
    }

    /// Reads all files again. A broken one keeps its last good version, with one line in the log; one
    /// that is gone takes its device along.
    pub(super) fn reload(&mut self) -> Vec<Edit> {
        let mut problems = Problems::default();
        let before = std::mem::take(&mut self.files);
        let mut claims = Vec::new();
        let mut schemas = SchemaPool::default();
        for path in list_again(&self.roots, &before, &mut problems) {
            let known = before.get(&path);
            match read_again(&path, known, &mut schemas) {
                Ok(loaded) => claims.push(Claim::new(path, loaded, known)),
                Err((content, problem)) => {
                    problems.add(&path, content, &problem, known.is_some());
                    if let Some(known) = known {
                        claims.push(Claim::new(path, known.clone(), Some(known)));
                    }
                }
            }
        }
        // A device stays with its file: another file cannot take it over.
        claims.sort_by_key(|claim| claim.rank);
        let mut devices: BTreeMap<DeviceId, PathBuf> = BTreeMap::new();
        for Claim { path, loaded, .. } in claims {
            let known = before.get(&path);
            let loaded = match devices.get(&loaded.profile.device) {
                None => Some(loaded),
                Some(other) => {
                    let last_good =
                        known.filter(|last| !devices.contains_key(&last.profile.device));
                    let problem = BrokenProfile::Double {
                        path: path.clone(),
                        other: other.clone(),
                        device: loaded.profile.device,
                    };
                    let stays = last_good.is_some();
                    problems.add(&path, loaded.content, &problem.to_string(), stays);
                    last_good.cloned()
                }
            };
            if let Some(loaded) = loaded {
                devices.insert(loaded.profile.device.clone(), path.clone());
                self.files.insert(path, loaded);
            }
        }
        self.told = problems.tell(&self.told);
        edits(profiles(&before), self.profiles())
    }
}

fn profiles(files: &BTreeMap<PathBuf, Loaded>) -> impl Iterator<Item = (&Profile, FileTimes)> {
    files.values().map(|loaded| (&loaded.profile, loaded.times))
}

/// A file that wants to describe its device.
struct Claim {
    path: PathBuf,
    loaded: Loaded,
    rank: Rank,
}

/// Who comes first where two files claim one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It has this device already.
    Same,
    /// It had another device.
    Changed,
    New,
}

impl Claim {
    fn new(path: PathBuf, loaded: Loaded, known: Option<&Loaded>) -> Self {
        let rank = match known {
            Some(known) if known.profile.device == loaded.profile.device => Rank::Same,
            Some(_) => Rank::Changed,
            None => Rank::New,
        };
        Self { path, loaded, rank }
    }
}

/// What is wrong with files, by their content, so that each is told once.
#[derive(Default)]
struct Problems {
    found: BTreeMap<PathBuf, (Print, String)>,
}

impl Problems {
    fn add(&mut self, path: &Path, content: Print, problem: &str, stays: bool) {
        let kept = match stays {
            true => "its last good version stays",
            false => "ignored",
        };
        let line = format!("{problem}; {kept}");
        self.found.insert(path.to_owned(), (content, line));
    }

    /// Logs what was not told before, and returns all that has been told now.
    fn tell(self, told: &BTreeMap<PathBuf, Print>) -> BTreeMap<PathBuf, Print> {
        let news = |(path, (content, line)): (PathBuf, (Print, String))| {
            if told.get(&path) != Some(&content) {
                warn!("{line}");
            }
            (path, content)
        };
        self.found.into_iter().map(news).collect()
    }
}

/// Lists the files that there are now. Those below a root that cannot be read stay as they were.
fn list_again(
    roots: &[PathBuf],
    before: &BTreeMap<PathBuf, Loaded>,
    problems: &mut Problems,
) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for root in roots {
        match list_root(root) {
            Ok(found) => files.extend(found),
            Err(fault) => {
                let gone = fault.kind() == io::ErrorKind::NotFound;
                if !gone {
                    let below = |path: &&PathBuf| *path == root || path.parent() == Some(root);
                    files.extend(before.keys().filter(below).cloned());
                }
                let problem = format!("cannot read {}: {fault}", root.display());
                let content = Print::of(fault.to_string().as_bytes());
                problems.add(root, content, &problem, !gone);
            }
        }
    }
    files
}

fn read_again(
    path: &Path,
    known: Option<&Loaded>,
    schemas: &mut SchemaPool,
) -> Result<Loaded, (Print, String)> {
    let (times, bytes) = read(path).map_err(|error| {
        let problem = format!("cannot read {}: {error}", path.display());
        (Print::of(error.to_string().as_bytes()), problem)
    })?;
    let content = Print::of(&bytes);
    if let Some(known) = known.filter(|known| known.content == content) {
        return Ok(known.clone());
    }
    parse(path, times, bytes, schemas).map_err(|problem| (content, problem.to_string()))
}

/// Reads a file; an edit during that is later than the times.
fn read(path: &Path) -> io::Result<(FileTimes, Vec<u8>)> {
    let mut file = File::open(path)?;
    let times = FileTimes::now(&file.metadata()?);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((times, bytes))
}

fn parse(
    path: &Path,
    times: FileTimes,
    bytes: Vec<u8>,
    schemas: &mut SchemaPool,
) -> Result<Loaded, BrokenProfile> {
    let content = Print::of(&bytes);
    let text = String::from_utf8(bytes).map_err(|_| BrokenProfile::NotText {
        path: path.to_owned(),
    })?;
    match Profile::parse_pooled(&text, schemas) {
        Ok(profile) => Ok(Loaded {
            content,
            profile,
            times,
        }),
        Err(error) => Err(BrokenProfile::Malformed {
            path: path.to_owned(),
            error,
        }),
    }
}

fn folder(root: &Path) -> PathBuf {
    let folder = match root.is_dir() {
        true => root,
        false => root.parent().unwrap_or(root),
    };
    match folder.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => folder.to_owned(),
    }
}

/// Lists the files below all roots, each once.
fn list_files(roots: &[PathBuf]) -> Result<BTreeSet<PathBuf>, ProfilesError> {
    let mut files = BTreeSet::new();
    for root in roots {
        files.extend(list_root(root).map_err(|source| ProfilesError::Read {
            path: root.clone(),
            source,
        })?);
    }
    Ok(files)
}

/// Lists the files of a root: itself, or all visible `*.json` in the folder that it is.
fn list_root(root: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(root)?.is_dir() {
        return Ok(vec![root.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        let visible = path
            .file_name()
            .is_some_and(|name| !name.to_string_lossy().starts_with('.'));
        if visible && path.extension().is_some_and(|end| end == "json") && path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}
