//! S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig, WriteMultipart,
};
use tokio::time::timeout;

use super::{Backend, Chunks, Mode, Put};
use crate::credentials::Credentials;
use crate::entries::RemoteEntry;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::location::Location;
use crate::retry::{SILENCE_MAX, patience};
use crate::source::Source;

/// Files up to this size are sent in one request, which the remote refuses when the name is taken.
const SINGLE_PUT_BYTES_MAX: u64 = 32 << 20;
/// Size of a piece of a larger file.
const PIECE_BYTES: usize = 16 << 20;
/// Pieces that are on their way at once.
const PIECES_MAX: usize = 3;

/// A remote in an object store.
pub(crate) struct Cloud {
    store: Arc<dyn ObjectStore>,
    prefix: String,
}

impl Cloud {
    /// Prepares access to a bucket. Credentials come from the file, else from the environment, else from the platform.
    pub(crate) fn open(location: &Location, entry: &RemoteEntry, credentials: &Credentials) -> Result<Self> {
        let bucket = location.url.host_str().unwrap_or_default().to_owned();
        let is_plain = entry.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let options = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(Duration::from_secs(10))
            .with_allow_http(is_plain);
        // What failed is tried again by the caller, who first asks whether it had succeeded after all.
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let failed = |error: object_store::Error| Error::InvalidSetting { fault: format!("{}: {error}", entry.url) };
        let store: Arc<dyn ObjectStore> = match location.url.scheme() {
            "s3" => {
                let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
                if let Some(endpoint) = &entry.endpoint {
                    builder = builder.with_endpoint(endpoint);
                }
                if let Some(region) = &entry.region {
                    builder = builder.with_region(region);
                }
                if let (Some(id), Some(secret)) = (&credentials.access_key_id, &credentials.secret_access_key) {
                    builder = builder.with_access_key_id(id).with_secret_access_key(secret);
                }
                if let Some(token) = &credentials.session_token {
                    builder = builder.with_token(token);
                }
                let builder = builder.with_client_options(options).with_retry(retry).with_allow_http(is_plain);
                Arc::new(builder.build().map_err(failed)?)
            }
            "gs" => {
                let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
                Arc::new(builder.with_client_options(options).with_retry(retry).build().map_err(failed)?)
            }
            _ => {
                let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
                Arc::new(builder.with_client_options(options).with_retry(retry).build().map_err(failed)?)
            }
        };
        Ok(Self { store, prefix: location.prefix() })
    }

    fn path(&self, name: &str) -> Result<Path> {
        let full = if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) };
        let fault = "it does not fit into an object store";
        Path::parse(&full).map_err(|_| Error::RefusedName { name: full.escape_debug().to_string(), fault })
    }

    async fn put_pieces(&self, path: &Path, source: &Source) -> object_store::Result<Result<()>> {
        let upload = self.store.put_multipart(path).await?;
        let mut write = WriteMultipart::new_with_chunk_size(upload, PIECE_BYTES);
        let sent = async {
            let mut reader = match source.open() {
                Ok(reader) => reader,
                Err(error) => return Ok(Err(error)),
            };
            loop {
                match reader.next() {
                    Ok(Some(chunk)) => write.put(chunk),
                    Ok(None) => return Ok(Ok(())),
                    Err(error) => return Ok(Err(error)),
                }
                write.wait_for_capacity(PIECES_MAX).await?;
            }
        };
        match sent.await {
            Ok(Ok(())) => write.finish().await.map(|_| Ok(())),
            failed => {
                // Pieces that cannot be taken back are what the bucket's rule for unfinished uploads removes.
                let _ = write.abort().await;
                failed
            }
        }
    }
}

#[async_trait::async_trait(?Send)]
impl Backend for Cloud {
    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.path(folder)?;
        let strip = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        let mut entries = self.store.list(Some(&path));
        let mut names = Vec::new();
        loop {
            match timeout(SILENCE_MAX, entries.try_next()).await {
                Ok(Ok(Some(entry))) => names.push(entry.location.as_ref().get(strip..).unwrap_or_default().to_owned()),
                Ok(Ok(None)) => return Ok(names),
                // A name that does not fit its rules cannot be one of ours, and hides the rest of the list.
                Ok(Err(object_store::Error::InvalidPath { source })) => {
                    let fault = "the remote lists a name that no stepwell gives";
                    return Err(Error::RefusedName { name: source.to_string(), fault });
                }
                Ok(Err(error)) => return Err(explain("list", folder, &error)),
                Err(_) => return Err(Error::unreachable(format!("list {folder}"), "the remote stopped answering")),
            }
        }
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>> {
        match timeout(SILENCE_MAX, self.store.head(&self.path(key.as_str())?)).await {
            Ok(Ok(meta)) => Ok(Some(meta.size)),
            Ok(Err(object_store::Error::NotFound { .. })) => Ok(None),
            Ok(Err(error)) => Err(explain("look for", key.as_str(), &error)),
            Err(_) => Err(Error::unreachable(format!("look for {key}"), "the remote does not answer")),
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<Chunks>> {
        let got = match timeout(SILENCE_MAX, self.store.get(&self.path(key.as_str())?)).await {
            Ok(Ok(got)) => got,
            Ok(Err(object_store::Error::NotFound { .. })) => return Ok(None),
            Ok(Err(error)) => return Err(explain("read", key.as_str(), &error)),
            Err(_) => return Err(Error::unreachable(format!("read {key}"), "the remote does not answer")),
        };
        let key = key.clone();
        Ok(Some(got.into_stream().map_err(move |error| explain("read", key.as_str(), &error)).boxed()))
    }

    async fn put(&self, key: &Key, source: &Source, mode: Mode) -> Result<Put> {
        let path = self.path(key.as_str())?;
        let sent = async {
            if source.len() > SINGLE_PUT_BYTES_MAX {
                // Pieces cannot be made conditional. What is named by its hash is the same whoever writes it.
                return Ok(self.put_pieces(&path, source).await?.map(|()| Put::Created));
            }
            let bytes = match source.read() {
                Ok(bytes) => bytes,
                Err(error) => return Ok(Err(error)),
            };
            let mode = if mode == Mode::IfAbsent { PutMode::Create } else { PutMode::Overwrite };
            self.store.put_opts(&path, PutPayload::from(bytes), PutOptions::from(mode)).await.map(|_| Ok(Put::Created))
        };
        match timeout(patience(source.len()), sent).await {
            Ok(Ok(done)) => done,
            Ok(Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })) => {
                Ok(Put::Existed)
            }
            Ok(Err(error)) => Err(explain("write", key.as_str(), &error)),
            Err(_) => Err(Error::unreachable(format!("write {key}"), "the remote does not answer")),
        }
    }
}

/// The error of an object store in words of ours. What is not clearly final may be tried again.
fn explain(action: &str, name: &str, error: &object_store::Error) -> Error {
    use object_store::Error as Cause;
    let what = format!("{action} {name}");
    match error {
        Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => {
            Error::Denied { what: format!("to {what}"), fault: error.to_string() }
        }
        Cause::NotFound { .. } => {
            Error::Denied { what: format!("to {what}"), fault: format!("is the bucket there? {error}") }
        }
        Cause::NotSupported { .. } | Cause::NotImplemented { .. } | Cause::InvalidPath { .. } => {
            Error::Denied { what: format!("to {what}"), fault: error.to_string() }
        }
        _ => Error::unreachable(what, error),
    }
}
