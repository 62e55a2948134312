//! What `hearthgate gateway` keeps: real processes, killed at any moment, on loopback, no fixed port.
#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use hearthgate_client::{Client, ClientError, ClientOptions};
use hearthgate_protocol::crypto::DeviceKey;
use hearthgate_protocol::model::{DeviceId, Reading, Value};
use hearthgate_protocol::wire::DeviceWrite;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hearthgate");
const KEY: &str = "k9Xq2mPz7LwT4vRb";
/// More than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Devices that are written at the same time.
const LAMPS: usize = 8;
/// Writes that are acknowledged before the last restart, at least.
const WRITES: i64 = 1000;
/// The first value of each.
const FIRST: i64 = 7;

/// Profiles of lamps, and a state folder.
struct Home {
    profiles: TempDir,
    state: TempDir,
}

impl Home {
    fn new(lamps: usize) -> Self {
        let home = Self {
            profiles: tempfile::tempdir().unwrap(),
            state: tempfile::tempdir().unwrap(),
        };
        for lamp in 0..lamps {
            let point =
                r#"{"code":"bright","type":"Integer","values":"{\"min\":0,\"max\":9999999}"}"#;
            let profile = format!(
                r#"{{"devid":"lamp{lamp}","category":"dj","function":[{point}],"status":[{point}],
                "online":true,"value":[{{"k":"bright","v":{FIRST}}}]}}"#
            );
            fs::write(home.profile(lamp), profile).unwrap();
        }
        home
    }

    fn profile(&self, lamp: usize) -> PathBuf {
        self.profiles.path().join(format!("lamp{lamp}.json"))
    }

    /// Gives a profile's file a modification time.
    fn modified(&self, lamp: usize, time: SystemTime) {
        let file = File::options()
            .append(true)
            .open(self.profile(lamp))
            .unwrap();
        file.set_modified(time).unwrap();
    }

    /// The folder of the one gateway.
    fn folder(&self) -> PathBuf {
        self.state.path().join("hearthgate/hg-test")
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Starts a gateway, which need not listen yet.
    fn start(&self, more: &[&str]) -> Running {
        let mut child = Command::new(PROGRAM)
            .args(["gateway", "--listen", "127.0.0.1:0", "--uuid", "hg-test"])
            .args(["--no-advertise", "--devices"])
            .arg(self.profiles.path())
            .args(more)
            .env_remove("HEARTHGATE_LOG")
            .env("HEARTHGATE_KEY", KEY)
            .env("XDG_STATE_HOME", self.state.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines(child.stderr.take().unwrap());
        Running { child, lines }
    }
}

/// A process that does not outlive its test, and the lines of its standard error.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Waits until it listens, and connects. Returns what it said before as well.
    async fn client(&self) -> (Client, Vec<String>) {
        let mut said = Vec::new();
        let address = loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap();
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split_once(' ').unwrap().0.to_owned();
            }
            said.push(line);
        };
        let key = DeviceKey::parse(KEY, Default::default()).unwrap();
        let mut options = ClientOptions::new(address.parse().unwrap(), key);
        options.mirror = false;
        let connected = tokio::time::timeout(PATIENCE, Client::connect(options));
        (connected.await.unwrap().unwrap().0, said)
    }

    /// Ends it as nothing can prevent or notice.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stderr: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // Whoever has seen enough listens no more.
            let _ = sender.send(line);
        }
    });
    receiver
}

fn device(lamp: usize) -> DeviceId {
    format!("lamp{lamp}").into()
}

async fn set(client: &Client, lamp: usize, value: i64) -> Result<(), ClientError> {
    let write = DeviceWrite {
        device: device(lamp),
        readings: vec![Reading::new("bright", Value::from(value))],
    };
    client.set(vec![write]).await.map(drop)
}

async fn read(client: &Client, lamp: usize) -> i64 {
    let status = client.statuses(&[device(lamp)]).await.unwrap();
    let reading = status.first().and_then(|status| status.readings.first());
    reading.unwrap().value.as_i64().unwrap()
}

/// What one writer knows: which values it began to write, and which were acknowledged.
#[derive(Default)]
struct Written {
    tried: AtomicI64,
    acknowledged: AtomicI64,
}

/// Writes ever new values to a lamp until the gateway is gone.
async fn write_on(client: Client, lamp: usize, written: Arc<Written>, count: Arc<AtomicI64>) {
    loop {
        let value = written.tried.fetch_add(1, Ordering::SeqCst) + 1;
        match set(&client, lamp, value).await {
            Ok(()) => {}
            // A slow disk: tried and not acknowledged.
            Err(ClientError::Refused { .. } | ClientError::Timeout { .. }) => continue,
            Err(_) => return,
        }
        written.acknowledged.store(value, Ordering::SeqCst);
        count.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_by_kills_at_random_moments() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let home = Home::new(LAMPS);
    let written: Vec<Arc<Written>> = (0..LAMPS).map(|_| Arc::default()).collect();
    for lamp in &written {
        lamp.tried.store(FIRST, Ordering::SeqCst);
        lamp.acknowledged.store(FIRST, Ordering::SeqCst);
    }
    let count = Arc::new(AtomicI64::new(0));
    let mut kills = 0;
    while count.load(Ordering::SeqCst) < WRITES {
        // Before it listens, or on the way: opening a store that was left in the midst of a write.
        for _ in 0..random.u32(0..3) {
            let early = home.start(&[]);
            let moment = Duration::from_micros(random.u64(0..30_000));
            let _ = early.lines.recv_timeout(moment);
            early.kill();
        }
        let gateway = home.start(&[]);
        let (client, said) = gateway.client().await;
        assert!(said.iter().all(|line| !line.contains("WARN")), "{said:?}");
        check(&client, &written).await;
        let enough = count.load(Ordering::SeqCst) + random.i64(1..WRITES / 6);
        let writers: Vec<_> = (0..LAMPS)
            .map(|lamp| {
                let (written, count) = (Arc::clone(&written[lamp]), Arc::clone(&count));
                tokio::spawn(write_on(client.clone(), lamp, written, count))
            })
            .collect();
        let begun = Instant::now();
        while count.load(Ordering::SeqCst) < enough {
            assert!(begun.elapsed() < PATIENCE, "writes stopped");
            tokio::task::yield_now().await;
        }
        gateway.kill();
        kills += 1;
        for writer in writers {
            writer.await.unwrap();
        }
    }
    let gateway = home.start(&[]);
    check(&gateway.client().await.0, &written).await;
    gateway.stop();
    println!("{} writes, {kills} kills", count.load(Ordering::SeqCst));
    assert_eq!(home.files(), ["lock", "values.db"]);
}

/// Checks that each lamp has the value that was acknowledged last, or one that was on its way.
async fn check(client: &Client, written: &[Arc<Written>]) {
    for (lamp, written) in written.iter().enumerate() {
        let value = read(client, lamp).await;
        let acknowledged = written.acknowledged.load(Ordering::SeqCst);
        let tried = written.tried.load(Ordering::SeqCst);
        assert!(
            (acknowledged..=tried).contains(&value),
            "lamp{lamp} has {value}; {acknowledged} was acknowledged, {tried} tried"
        );
        // What was on its way has arrived or never will.
        written.acknowledged.store(value, Ordering::SeqCst);
        written.tried.store(value, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_set_aside_and_the_profiles_count() {
    let home = Home::new(1);
    let gateway = home.start(&[]);
    set(&gateway.client().await.0, 0, 99).await.unwrap();
    gateway.stop();
    fs::write(home.folder().join("values.db"), "damaged").unwrap();
    let gateway = home.start(&[]);
    let (client, said) = gateway.client().await;
    let warnings: Vec<&String> = said.iter().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{said:?}");
    let aside = home
        .files()
        .into_iter()
        .find(|name| name.starts_with("values-damaged-"));
    let aside = home.folder().join(aside.unwrap());
    for part in [
        "cannot be used",
        "file is not a database",
        aside.to_str().unwrap(),
    ] {
        assert!(warnings[0].contains(part), "{part}: {warnings:?}");
    }
    assert_eq!(fs::read(&aside).unwrap(), b"damaged");
    assert_eq!(read(&client, 0).await, FIRST);
    set(&client, 0, 100).await.unwrap();
    gateway.kill();
    let gateway = home.start(&[]);
    let (client, said) = gateway.client().await;
    assert!(said.iter().all(|line| !line.contains("WARN")), "{said:?}");
    assert_eq!(read(&client, 0).await, 100);
    assert_eq!(fs::read(&aside).unwrap(), b"damaged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_counts_again_when_it_was_modified_after_it_was_read() {
    let home = Home::new(3);
    let gateway = home.start(&[]);
    let (client, _) = gateway.client().await;
    for lamp in 0..3 {
        set(&client, lamp, 50).await.unwrap();
    }
    gateway.kill();
    home.modified(1, SystemTime::now());
    home.modified(2, SystemTime::now() - Duration::from_secs(3600));
    for _ in 0..2 {
        let gateway = home.start(&[]);
        let (client, _) = gateway.client().await;
        let mut values = Vec::new();
        for lamp in 0..3 {
            values.push(read(&client, lamp).await);
        }
        assert_eq!(values, [50, FIRST, 50]);
        gateway.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_state_none_nothing_is_stored() {
    let home = Home::new(1);
    for _ in 0..2 {
        let gateway = home.start(&["--state", "none"]);
        let (client, _) = gateway.client().await;
        assert_eq!(read(&client, 0).await, FIRST);
        set(&client, 0, 50).await.unwrap();
        assert_eq!(read(&client, 0).await, 50);
        gateway.stop();
    }
    assert_eq!(fs::read_dir(home.state.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new(1);
    let gateway = home.start(&[]);
    set(&gateway.client().await.0, 0, 50).await.unwrap();
    for name in ["values.db", "values.db-wal"] {
        let metadata = fs::metadata(home.folder().join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
    let mode = fs::metadata(home.folder()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    gateway.stop();
}
