//! A plain HTTP server with a bearer token: GET, HEAD, PUT, and `If-None-Match: *`.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
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
