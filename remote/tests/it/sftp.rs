//! SFTP through `ssh` and a real `sshd` on loopback.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use stepwell_remote::{Credentials, Error, FailureKind, PullOptions, PushOptions, Remote, RemoteEntry};

use crate::{Place, assert_equal, files, log_run, moved, pull, push};

/// What the key is encrypted with.
const PASSPHRASE: &str = "correct 'horse' $battery";

/// A server of its own, with its own keys, for one test.
struct Sshd {
    child: Child,
    port: u16,
    keys: PathBuf,
}

impl Sshd {
    /// `None`, said on stderr, where OpenSSH is not installed.
    fn start(place: &Place) -> Option<Self> {
        let program = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].into_iter().find(|path| Path::new(path).exists());
        let has_client = Command::new("ssh").arg("-V").stderr(Stdio::null()).status().is_ok();
        let Some(program) = program.filter(|_| has_client) else {
            eprintln!("not tested: OpenSSH's client and server are not both installed");
            return None;
        };
        let keys = place.path("keys");
        fs::create_dir(&keys).expect("create");
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).expect("mode");
        for (name, passphrase) in [("host", ""), ("user", ""), ("locked", PASSPHRASE), ("stranger", "")] {
            let mut made = Command::new("ssh-keygen");
            made.args(["-q", "-t", "ed25519", "-N", passphrase, "-f"]).arg(keys.join(name));
            assert!(made.status().expect("ssh-keygen").success());
        }
        let public = |name: &str| fs::read_to_string(keys.join(name).with_extension("pub")).expect("read");
        fs::write(keys.join("authorized"), public("user") + &public("locked")).expect("write");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("port").port();
        fs::write(keys.join("known"), format!("[127.0.0.1]:{port} {}", public("host"))).expect("write");
        let at = keys.display();
        let settings = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nPidFile none\nUsePAM no\nStrictModes no\nLogLevel QUIET\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n\
             AuthorizedKeysFile {at}/authorized\nSubsystem sftp internal-sftp\n"
        );
        fs::write(keys.join("config"), settings).expect("write");
        // A server that is root's wants this folder, which a start of the machine's own server makes.
        let _ = fs::create_dir_all("/run/sshd");
        let mut command = Command::new(program);
        command.args(["-D", "-e", "-f"]).arg(keys.join("config"));
        let child = command.stdout(Stdio::null()).spawn().expect("sshd");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "sshd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { child, port, keys })
    }

    fn entry(&self, folder: &Path) -> RemoteEntry {
        let user = rustix::process::getuid();
        let name = fs::read_to_string("/etc/passwd").expect("users");
        let name = name.lines().find(|line| line.split(':').nth(2) == Some(&user.as_raw().to_string())).expect("user");
        let name = name.split(':').next().expect("name");
        RemoteEntry::new("origin", format!("ssh://{name}@127.0.0.1:{}{}", self.port, folder.display()))
    }

    fn credentials(&self, key: &str) -> Credentials {
        Credentials {
            key_file: Some(self.keys.join(key)),
            known_hosts: Some(self.keys.join("known")),
            ..Credentials::default()
        }
    }

    fn remote(&self, place: &Place) -> Remote {
        Remote::open_with(&self.entry(&place.path("far/away remote")), &self.credentials("user")).expect("open")
    }

    /// Kills the processes that serve connections; the one that listens stays.
    fn cut(&self) -> usize {
        let mut cut = 0;
        for entry in fs::read_dir("/proc").expect("processes").flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent =
                stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
            if let (true, Some(id)) = (parent == Some(self.child.id()), rustix::process::Pid::from_raw(id)) {
                cut += usize::from(rustix::process::kill_process(id, rustix::process::Signal::KILL).is_ok());
            }
        }
        cut
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.cut();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_machines_push_into_a_folder_of_a_third_and_a_fourth_pulls() {
    let place = Place::new();
    let Some(sshd) = Sshd::start(&place) else { return };
    let (a, b, c) = (place.store("a"), place.store("b"), place.store("c"));
    for seed in 1..4 {
        log_run(&place, &a, seed).finish().expect("finish");
        log_run(&place, &b, seed + 10).finish().expect("finish");
    }
    let (of_a, of_b) = std::thread::scope(|scope| {
        let push_of = |store| {
            let remote = sshd.remote(&place);
            scope.spawn(move || push(&remote, store))
        };
        let (of_a, of_b) = (push_of(&a), push_of(&b));
        (of_a.join().expect("push"), of_b.join().expect("push"))
    });
    // Three folders and a file in each that is like no other; the file that is the same in all is sent by one of the two.
    assert_eq!(of_a.objects + of_b.objects, 13);
    let remote = sshd.remote(&place);
    assert_eq!(moved(&push(&remote, &a)) + moved(&push(&remote, &b)), 0);
    pull(&remote, &c);
    pull(&remote, &a);
    assert_equal(&a, &c);
    assert_eq!(moved(&pull(&remote, &c)), 0);
}

#[test]
fn a_connection_that_breaks_is_made_again() {
    let place = Place::new();
    let Some(sshd) = Sshd::start(&place) else { return };
    let (a, b, remote) = (place.store("a"), place.store("b"), sshd.remote(&place));
    for seed in 1..4 {
        log_run(&place, &a, seed).finish().expect("finish");
    }
    let cuts = AtomicU32::new(0);
    let cut_at = |at: u32| {
        let seen = AtomicU32::new(0);
        let cuts = &cuts;
        let sshd = &sshd;
        move |_| {
            if seen.fetch_add(1, Ordering::Relaxed) == at {
                assert_eq!(sshd.cut(), 1);
                cuts.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let report = remote.push(&a, &PushOptions::default(), &cut_at(4)).expect("push");
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let report = remote.pull(&b, &PullOptions::default(), &cut_at(4)).expect("pull");
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(cuts.into_inner(), 2);
    assert_equal(&a, &b);
}

#[test]
fn keys_and_hosts_that_are_not_known_are_refused_in_ssh_s_words() {
    let place = Place::new();
    let Some(sshd) = Sshd::start(&place) else { return };
    let entry = sshd.entry(&place.path("remote"));
    let told = |credentials: &Credentials| match Remote::open_with(&entry, credentials) {
        Err(Error::Denied { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    let fault = told(&sshd.credentials("stranger"));
    assert!(fault.contains("Permission denied") && fault.contains("--key-file"), "{fault}");
    let empty = place.path("empty");
    fs::write(&empty, "").expect("write");
    let fault = told(&Credentials { known_hosts: Some(empty), ..sshd.credentials("user") });
    assert!(fault.contains("Host key verification failed"), "{fault}");
    // A key that is locked is opened with what the file of credentials says, and with nothing else.
    assert!(told(&sshd.credentials("locked")).contains("Permission denied"));
    let right = Credentials { key_passphrase: Some(PASSPHRASE.to_owned()), ..sshd.credentials("locked") };
    Remote::open_with(&entry, &right).expect("open");
    let wrong = Credentials { key_passphrase: Some("wrong".to_owned()), ..sshd.credentials("locked") };
    assert!(told(&wrong).contains("Permission denied"));
}

#[test]
fn what_is_damaged_or_named_badly_there_is_refused_by_name() {
    let place = Place::new();
    let Some(sshd) = Sshd::start(&place) else { return };
    let (a, b, remote) = (place.store("a"), place.store("b"), sshd.remote(&place));
    log_run(&place, &a, 1).finish().expect("finish");
    log_run(&place, &a, 2).finish().expect("finish");
    push(&remote, &a);
    let far = place.path("far/away remote");
    let mut objects = Vec::new();
    crate::find_all(&far.join("objects"), &mut objects);
    let own = objects.iter().find(|path| fs::read(path).is_ok_and(|text| text == b"own 1")).expect("object");
    fs::write(own, "own X").expect("write");
    fs::create_dir_all(far.join("logs/%2e%2e/w")).expect("create");
    fs::write(far.join("logs/%2e%2e/w/x.events.jsonl"), "{}").expect("write");
    let report = remote.pull(&b, &PullOptions::default(), &|_| {}).expect("pull");
    assert_eq!(report.failures.len(), 2, "{:?}", report.failures);
    assert_eq!(report.failure(), Some(FailureKind::Damaged));
    let hash = own.file_name().expect("name").to_string_lossy().into_owned();
    assert!(report.failures.iter().any(|failure| failure.error.to_string().contains(&hash)), "{:?}", report.failures);
    assert!(!files(&b).keys().any(|name| name.ends_with(&hash)));
    fs::write(own, "own 1").expect("write");
    fs::remove_dir_all(far.join("logs/%2e%2e")).expect("remove");
    pull(&remote, &b);
    assert_equal(&a, &b);
}
