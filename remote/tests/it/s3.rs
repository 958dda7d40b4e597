//! S3 as moto's server has it, behind a proxy that counts and injects failures.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use stepwell_remote::{Credentials, FailureKind, PullOptions, Remote, RemoteEntry};

use crate::http::{Request, answer, forward, serve};
use crate::{Place, assert_equal, log_run, moved, pull, push};

/// moto's server; ends with the test.
struct Moto {
    process: Child,
    address: SocketAddr,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the proxy does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// An error instead of passing it on.
    Error,
    /// An error after it was done.
    ErrorAfter,
    /// Half of the answer, then nothing.
    Cut,
    /// One bit of the body is another.
    Flip,
}

#[derive(Default)]
struct Seen {
    puts: BTreeMap<String, u32>,
    asked: BTreeMap<String, u32>,
}

fn moto() -> Option<Moto> {
    let program = std::env::var_os("STEPWELL_MOTO_SERVER").map(PathBuf::from);
    let program =
        program.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.venv/moto/bin/moto_server")));
    if !program.exists() {
        println!("skipped: {} is not there; `make rust-test` installs it", program.display());
        return None;
    }
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("port").port();
    let mut command = Command::new(program);
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let moto = Moto { process: command.spawn().expect("start"), address: ([127, 0, 0, 1], port).into() };
    let headers = [("host".to_owned(), moto.address.to_string()), ("content-length".to_owned(), "0".to_owned())];
    let create = Request { method: "PUT".into(), path: "/bucket".into(), headers: headers.into(), body: Vec::new() };
    // Asked until it answers: nothing else says that it is ready.
    for _ in 0..600 {
        if TcpStream::connect(moto.address).is_ok() {
            let created = forward(moto.address, &create).expect("answer");
            assert!(created.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&created));
            return Some(moto);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("moto does not answer");
}

/// A proxy in front of moto; `fault` is told the method, the path and how often that was asked before.
fn proxy(
    moto: SocketAddr,
    fault: impl Fn(&str, &str, u32) -> Fault + Send + Sync + 'static,
) -> (SocketAddr, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let counted = Arc::clone(&seen);
    let address = serve(move |request, stream| {
        let path = request.path.split('?').next().unwrap_or_default().to_owned();
        let asked = {
            let mut seen = counted.lock().expect("lock");
            let asked = seen.asked.entry(format!("{} {path}", request.method)).or_default();
            *asked += 1;
            *asked - 1
        };
        let fault = fault(&request.method, &path, asked);
        if fault == Fault::Error {
            drop(stream.write_all(&answer("500 Internal Server Error", b"")));
            return;
        }
        let Some(mut answered) = forward(moto, &request) else { return };
        if request.method == "PUT" && answered.starts_with(b"HTTP/1.1 200") {
            *counted.lock().expect("lock").puts.entry(path).or_default() += 1;
        }
        match fault {
            Fault::ErrorAfter => answered = answer("500 Internal Server Error", b""),
            Fault::Cut => answered.truncate(answered.len() - answered.len() / 4),
            Fault::Flip => {
                let last = answered.len() - 1;
                answered[last] ^= 1;
            }
            _ => {}
        }
        let _ = stream.write_all(&answered);
    });
    (address, seen)
}

fn s3(address: SocketAddr) -> Remote {
    let entry = RemoteEntry {
        endpoint: Some(format!("http://{address}")),
        region: Some("us-east-1".to_owned()),
        ..RemoteEntry::new("origin", "s3://bucket/team a")
    };
    let credentials = Credentials {
        access_key_id: Some("id".to_owned()),
        secret_access_key: Some("secret".to_owned()),
        ..Credentials::default()
    };
    Remote::open_with(&entry.checked().expect("entry"), &credentials).expect("open")
}

#[test]
fn two_stores_pushed_at_once_into_one_bucket_meet_in_a_third_and_nothing_is_sent_twice() {
    let Some(moto) = moto() else { return };
    let (address, seen) = proxy(moto.address, |_, _, _| Fault::None);
    let place = Place::new();
    let (a, b, c) = (place.store("a"), place.store("b"), place.store("c"));
    for seed in 0..5 {
        log_run(&place, &a, seed).finish().expect("finish");
        log_run(&place, &b, 10 + seed).finish().expect("finish");
    }
    std::thread::scope(|scope| {
        scope.spawn(|| push(&s3(address), &a));
        scope.spawn(|| push(&s3(address), &b));
    });
    assert_eq!(moved(&push(&s3(address), &a)) + moved(&push(&s3(address), &b)), 0);
    for store in [&c, &a, &b] {
        pull(&s3(address), store);
    }
    assert_equal(&a, &c);
    assert_equal(&b, &c);
    let seen = seen.lock().expect("lock");
    assert!(seen.puts.values().all(|puts| *puts == 1) && seen.puts.len() > 40, "{:?}", seen.puts);
}

#[test]
fn errors_before_and_after_success_and_cut_answers_are_tried_again() {
    let Some(moto) = moto() else { return };
    let (address, seen) = proxy(moto.address, |method, _, asked| match (method, asked) {
        ("PUT", 0) => Fault::ErrorAfter,
        ("HEAD", 1) | ("GET", 0) => Fault::Error,
        ("GET", 1) => Fault::Cut,
        _ => Fault::None,
    });
    let place = Place::new();
    let (a, b) = (place.store("a"), place.store("b"));
    log_run(&place, &a, 1).finish().expect("finish");
    push(&s3(address), &a);
    pull(&s3(address), &b);
    assert_equal(&a, &b);
    let seen = seen.lock().expect("lock");
    assert!(seen.puts.values().all(|puts| *puts == 1), "what had succeeded was not sent again: {:?}", seen.puts);
}

#[test]
fn wrong_bytes_are_refused_by_name_and_the_next_pull_is_whole() {
    let Some(moto) = moto() else { return };
    let (address, _) = proxy(moto.address, |method, path, _| match method {
        "GET" if path.ends_with(".parquet") => Fault::Flip,
        _ => Fault::None,
    });
    let place = Place::new();
    let (a, b) = (place.store("a"), place.store("b"));
    log_run(&place, &a, 1).finish().expect("finish");
    push(&s3(address), &a);
    let report = s3(address).pull(&b, &PullOptions::default(), &|_| {}).expect("pull");
    assert_eq!(report.failure(), Some(FailureKind::Damaged));
    assert!(report.failures[0].error.to_string().contains(".parquet"), "{report:?}");
    assert!(b.snapshot().expect("snapshot").runs().is_empty());
    let (address, _) = proxy(moto.address, |_, _, _| Fault::None);
    pull(&s3(address), &b);
    assert_equal(&a, &b);
}

#[test]
fn a_server_that_only_fails_is_given_up_in_words() {
    let address = serve(|_, stream| drop(stream.write_all(&answer("500 Internal Server Error", b""))));
    let place = Place::new();
    let a = place.store("a");
    let error = s3(address).push(&a, &stepwell_remote::PushOptions::default(), &|_| {}).expect_err("fails");
    assert!(error.is_retryable() && error.to_string().contains("stepwell-remote.json"), "{error}");
}
