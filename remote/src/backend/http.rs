//! HTTP with GET, HEAD and PUT, and a bearer token: the Open Science Data Federation, or any server that takes PUT.
//!
//! Such a server cannot list its files. What parts there are is told by a list of entries with the names `index/0.json`,
//! `index/1.json`, ..., each written once by the push that added its parts.

use std::path::PathBuf;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use url::Url;

use super::{Backend, Chunks, Mode, Put};
use crate::credentials::Credentials;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::location::Location;
use crate::retry::{SILENCE_MAX, patience, retry};
use crate::source::Source;
use crate::transfer::read_small;

/// Largest entry of the list of parts.
const ENTRY_BYTES_MAX: usize = 64 << 20;
/// Most entries of the list of parts.
const ENTRIES_MAX: u64 = 1_000_000;

#[derive(Serialize, Deserialize)]
struct Entry {
    parts: Vec<String>,
}

/// A remote on an HTTP server.
pub(crate) struct Http {
    base: Url,
    client: Client,
    token: Option<String>,
    token_file: Option<PathBuf>,
}

impl Http {
    /// Prepares access. The token comes from the file of credentials, else from `STEPWELL_HTTP_TOKEN` or `BEARER_TOKEN`, else from
    /// the file that `BEARER_TOKEN_FILE` names.
    pub(crate) fn open(location: &Location, credentials: &Credentials) -> Result<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let token_file = credentials.token_file.clone();
        let is_given = credentials.token.is_some() || token_file.is_some();
        let from_environment = || variable("STEPWELL_HTTP_TOKEN").or_else(|| variable("BEARER_TOKEN"));
        let token = credentials.token.clone().or_else(|| from_environment().filter(|_| !is_given));
        let token_file =
            token_file.or_else(|| variable("BEARER_TOKEN_FILE").filter(|_| token.is_none()).map(PathBuf::from));
        let host = location.url.host_str().unwrap_or_default();
        let is_near = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        if location.url.scheme() == "http" && !is_near && (token.is_some() || token_file.is_some()) {
            let fault = format!("{} would carry the token in the clear; use https://", location.url);
            return Err(Error::InvalidSetting { fault });
        }
        // A redirect could lead the token, or what is written, elsewhere; a client that follows drops the token on other hosts.
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::limited(3))
            .build()
            .map_err(|error| Error::InvalidSetting { fault: format!("HTTP cannot be used here: {error}") })?;
        let mut base = location.url.clone();
        base.set_path(&format!("{}/", base.path().trim_end_matches('/')));
        Ok(Self { base, client, token, token_file })
    }

    fn request(&self, method: Method, key: &Key) -> Result<RequestBuilder> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            // Encodes what means something else in a URL, `%` too.
            path.pop_if_empty().extend(key.as_str().split('/'));
        }
        let request = self.client.request(method, url);
        let token = match &self.token_file {
            Some(path) => Some(std::fs::read_to_string(path).map_err(Error::io("read the token in", path))?),
            None => self.token.clone(),
        };
        Ok(match token {
            Some(token) => request.bearer_auth(token.trim()),
            None => request,
        })
    }

    async fn send(&self, request: RequestBuilder, what: &str) -> Result<Response> {
        match timeout(SILENCE_MAX, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Error::unreachable(what, chain(&error))),
            Err(_) => Err(Error::unreachable(what, "the server does not answer")),
        }
    }

    async fn write(&self, key: &Key, source: &Source, mode: Mode) -> Result<Put> {
        let what = format!("write {key}");
        let reader = source.open()?;
        let body = futures::stream::try_unfold(reader, async |mut reader| {
            Ok::<_, Error>(reader.next()?.map(|chunk| (chunk, reader)))
        });
        let mut request = self.request(Method::PUT, key)?.header(header::CONTENT_LENGTH, source.len());
        if mode == Mode::IfAbsent {
            request = request.header(header::IF_NONE_MATCH, "*");
        }
        let sent = timeout(patience(source.len()), request.body(reqwest::Body::wrap_stream(body)).send()).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                // What the body's own reading said, such as that the file is damaged, is final.
                source.read_again_if_damaged()?;
                return Err(Error::unreachable(what, chain(&error)));
            }
            Err(_) => return Err(Error::unreachable(what, "the server does not answer")),
        };
        match response.status() {
            StatusCode::PRECONDITION_FAILED => Ok(Put::Existed),
            status if status.is_success() => Ok(Put::Created),
            status => Err(refused(&what, status)),
        }
    }
}

#[async_trait::async_trait(?Send)]
impl Backend for Http {
    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for n in 0..ENTRIES_MAX {
            let key = Key::index(n);
            let Some(text) = read_small(self, &key, ENTRY_BYTES_MAX).await? else { break };
            let entry: Entry =
                serde_json::from_slice(&text).map_err(|error| Error::corrupt(&key, error.to_string()))?;
            names.extend(entry.parts);
        }
        let folder = format!("{folder}/");
        if let Some(name) = names.iter().find(|name| !name.starts_with(&folder)) {
            let fault = "the list of parts names something else";
            return Err(Error::RefusedName { name: name.escape_debug().to_string(), fault });
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>> {
        let what = format!("look for {key}");
        let response = self.send(self.request(Method::HEAD, key)?, &what).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let length =
                    response.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
                let fault = "the server does not say how long it is".to_owned();
                length.map(Some).ok_or(Error::Denied { what: format!("to {what}"), fault })
            }
            status => Err(refused(&what, status)),
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<Chunks>> {
        let what = format!("read {key}");
        let response = self.send(self.request(Method::GET, key)?, &what).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let chunks = response.bytes_stream();
                Ok(Some(chunks.map_err(move |error| Error::unreachable(&what, chain(&error))).boxed()))
            }
            status => Err(refused(&what, status)),
        }
    }

    async fn put(&self, key: &Key, source: &Source, mode: Mode) -> Result<Put> {
        self.write(key, source, mode).await
    }

    async fn announce(&self, keys: &[Key]) -> Result<()> {
        let parts: Vec<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
        let text = serde_json::to_vec(&Entry { parts }).unwrap_or_default();
        for n in 0..ENTRIES_MAX {
            let key = Key::index(n);
            // Asked first, so that no body is sent in vain; the server then refuses whoever comes second.
            let put = retry(async |attempt| {
                match self.size(&key).await? {
                    None => self.write(&key, &Source::Memory(text.clone().into()), Mode::IfAbsent).await,
                    // The entry that the attempt before seemed to fail to write.
                    Some(_) if attempt > 0 && self.holds(&key, &text).await? => Ok(Put::Created),
                    Some(_) => Ok(Put::Existed),
                }
            });
            if put.await? == Put::Created {
                return Ok(());
            }
        }
        Err(Error::Denied { what: "another entry in the list of parts".to_owned(), fault: "it is full".to_owned() })
    }
}

impl Http {
    async fn holds(&self, key: &Key, text: &[u8]) -> Result<bool> {
        Ok(read_small(self, key, ENTRY_BYTES_MAX).await?.is_some_and(|known| known == text))
    }
}

fn refused(what: &str, status: StatusCode) -> Error {
    let is_passing = status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 425 | 429);
    if is_passing {
        return Error::unreachable(what, status);
    }
    let hint = if matches!(status.as_u16(), 401 | 403) {
        "; is there a token for it? `stepwell init osdfremote --help`"
    } else {
        ""
    };
    Error::Denied { what: format!("to {what}"), fault: format!("{status}{hint}") }
}

/// An error with its causes, and without the URL.
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = if text.is_empty() { said } else { format!("{text}: {said}") };
        }
        cause = error.source();
    }
    text
}
