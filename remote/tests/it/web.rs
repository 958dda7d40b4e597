//! A plain HTTP server with a bearer token: GET, HEAD, PUT, and `If-None-Match: *`.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use stepwell_remote::{Credentials, Error, Remote, RemoteEntry};

use crate::http::{Request, answer, serve};
use crate::{Place, assert_equal, log_run, moved, pull, push};

#[derive(Default)]
struct Web {
    files: Mutex<HashMap<String, Vec<u8>>>,
    puts: Mutex<BTreeMap<String, u32>>,
}

impl Web {
    fn answer(&self, request: &Request) -> Vec<u8> {
        if request.headers.get("authorization").map(String::as_str) != Some("Bearer sesame") {
            return answer("401 Unauthorized", b"");
        }
        let mut files = self.files.lock().expect("lock");
        match (request.method.as_str(), files.get(&request.path)) {
            ("PUT", Some(_)) if request.headers.contains_key("if-none-match") => answer("412 Precondition Failed", b""),
            ("PUT", _) => {
                *self.puts.lock().expect("lock").entry(request.path.clone()).or_default() += 1;
                files.insert(request.path.clone(), request.body.clone());
                answer("201 Created", b"")
            }
            (_, None) => answer("404 Not Found", b""),
            ("HEAD", Some(file)) => {
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", file.len()).into_bytes()
            }
            (_, Some(file)) => answer("200 OK", file),
        }
    }
}

#[test]
fn an_http_server_without_listing_takes_and_gives_runs() {
    let web = Arc::new(Web::default());
    let serving = Arc::clone(&web);
    let address = serve(move |request, stream| drop(stream.write_all(&serving.answer(&request))));
    let place = Place::new();
    let (a, b, c) = (place.store("a"), place.store("b"), place.store("c"));
    let entry = RemoteEntry::new("origin", format!("http://{address}/data/team"));
    let credentials = Credentials { token: Some("sesame".to_owned()), ..Credentials::default() };
    let remote = Remote::open_with(&entry, &credentials).expect("open");
    log_run(&place, &a, 1).finish().expect("finish");
    log_run(&place, &b, 2).finish().expect("finish");
    std::thread::scope(|scope| {
        let push_of = |store| {
            let remote = Remote::open_with(&entry, &credentials).expect("open");
            move || drop(push(&remote, store))
        };
        scope.spawn(push_of(&a));
        scope.spawn(push_of(&b));
    });
    assert_eq!(moved(&push(&remote, &a)), 0);
    pull(&remote, &c);
    pull(&remote, &a);
    assert_equal(&a, &c);
    assert!(web.puts.lock().expect("lock").values().all(|puts| *puts == 1), "{:?}", web.puts);
    let stranger = Remote::open_with(&entry, &Credentials::default()).expect("open");
    let refused = stranger.push(&b, &stepwell_remote::PushOptions::default(), &|_| {}).expect_err("refused");
    assert!(matches!(refused, Error::Denied { .. }), "{refused}");
    let far = RemoteEntry::new("origin", "http://example.org/data");
    assert!(matches!(Remote::open_with(&far, &credentials), Err(Error::InvalidSetting { .. })));
}

/// Files that a server begins to send and never ends, without saying how long they are.
#[test]
fn a_body_that_does_not_end_is_cut_off_and_refused_by_name() {
    for folder in ["/runs/", "/objects/", "/logs/", "/index/", "/stepwell-remote.json"] {
        let web = Arc::new(Web::default());
        let sent = Arc::new(AtomicU64::new(0));
        let is_endless = Arc::new(AtomicBool::new(false));
        let (serving, counting, starting) = (Arc::clone(&web), Arc::clone(&sent), Arc::clone(&is_endless));
        let address = serve(move |request, stream| {
            if starting.load(Ordering::Relaxed) && request.method == "GET" && request.path.contains(folder) {
                pour(stream, &counting);
            } else {
                drop(stream.write_all(&serving.answer(&request)));
            }
        });
        let place = Place::new();
        let (a, b) = (place.store("a"), place.store("b"));
        log_run(&place, &a, 1).finish().expect("finish");
        let credentials = Credentials { token: Some("sesame".to_owned()), ..Credentials::default() };
        let entry = RemoteEntry::new("origin", format!("http://{address}/data"));
        let remote = Remote::open_with(&entry, &credentials).expect("open");
        push(&remote, &a);
        is_endless.store(true, Ordering::Relaxed);
        let error = match remote.pull(&b, &stepwell_remote::PullOptions::default(), &|_| {}) {
            Ok(mut report) => report.failures.remove(0).error,
            Err(error) => error,
        };
        assert!(matches!(error, Error::Corrupt { .. }), "{folder}: {error}");
        assert!(error.to_string().contains(folder.trim_matches('/')), "{folder}: {error}");
        assert!(b.snapshot().expect("snapshot").runs().is_empty(), "{folder}");
        // An entry of the index may have 64 MiB; the rest is what sockets and the client hold.
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < 128 << 20, "{folder}: {sent} bytes were taken");
        is_endless.store(false, Ordering::Relaxed);
        pull(&remote, &b);
        assert_equal(&a, &b);
    }
}

/// Sends until the other end has had enough.
fn pour(stream: &mut std::net::TcpStream, sent: &AtomicU64) {
    let mut send = |bytes: &[u8]| {
        sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        stream.write_all(bytes)
    };
    let mut result = send(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
    while result.is_ok() {
        result = send(&[b' '; 1 << 16]);
    }
}
