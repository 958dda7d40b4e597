//! SFTP through the `ssh` program.

mod ssh;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::client::fs::File;
use russh_sftp::client::{Config, SftpSession};
use russh_sftp::protocol::{OpenFlags, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Backend, Chunks, Mode, Put};
use crate::credentials::Credentials;
use crate::dir::TEMP_PREFIX;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::location::{Location, decoded};
use crate::retry::{SILENCE_MAX, retry};
use crate::source::Source;
use ssh::{Ssh, Target};

/// Bytes handed on at a time; the requests behind them are smaller, and several are on their way at once.
const CHUNK_BYTES: usize = 256 << 10;
/// Folders that are listed at once.
const LISTS_MAX: usize = 32;
/// Deepest folder below the root that a list looks into; ours are three deep.
const DEPTH_MAX: usize = 8;

/// A remote in a folder of another machine.
pub(crate) struct Sftp {
    target: Target,
    root: String,
    name: String,
    /// The connection; a broken one is replaced by the next who needs it.
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
    /// Folders that are known to be there.
    folders: Mutex<HashSet<String>>,
}

struct Connection {
    session: SftpSession,
    // Dropped after the session: it carries it.
    _ssh: Ssh,
}

impl Sftp {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`], [`Error::InvalidSetting`] without an `ssh` program, [`Error::Denied`], [`Error::Unreachable`].
    pub(crate) async fn open(location: &Location, credentials: &Credentials) -> Result<Self> {
        let invalid = |fault: &str| Error::InvalidUrl { url: location.url.to_string(), fault: fault.to_owned() };
        let path = decoded(location.url.path());
        if path.chars().any(char::is_control) {
            return Err(invalid("its path holds a control character"));
        }
        // Relative paths begin in the user's home.
        let root = path.strip_prefix("/~/").unwrap_or(&path).trim_end_matches('/').to_owned();
        if root.is_empty() || root == "/~" {
            return Err(invalid("it names no folder: ssh://HOST/FOLDER, or ssh://HOST/~/FOLDER below the user's home"));
        }
        let target = Target::new(location, credentials)?;
        let name = location.url.to_string();
        let opened = Self { target, root, name, connection: tokio::sync::Mutex::default(), folders: Mutex::default() };
        retry(async |_| opened.connection().await).await?;
        Ok(opened)
    }

    async fn connection(&self) -> Result<Arc<Connection>> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(Arc::clone(connection));
        }
        let what = format!("connect to {}", self.name);
        let (ssh, socket) = self.target.connect()?;
        let socket = socket.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(socket));
        let socket = socket.map_err(Error::io("open a socket for", "ssh"))?;
        let config = Config { request_timeout_secs: SILENCE_MAX.as_secs(), ..Config::default() };
        let session = match SftpSession::new_with_config(socket, config).await {
            Ok(session) => session,
            Err(error) => return Err(tokio::task::block_in_place(|| ssh.explain(&what, &error))),
        };
        Ok(Arc::clone(slot.insert(Arc::new(Connection { session, _ssh: ssh }))))
    }

    /// Does something with the connection. One that broke is given up, so that the next attempt makes another.
    async fn with<T>(&self, what: &str, work: impl AsyncFnOnce(&Arc<Connection>) -> Result<T, Fault>) -> Result<T> {
        let connection = self.connection().await?;
        match work(&connection).await {
            Ok(value) => Ok(value),
            Err(Fault::Ours(error)) => Err(error),
            Err(Fault::Theirs(SftpError::Status(status))) => Err(match status.status_code {
                StatusCode::PermissionDenied | StatusCode::OpUnsupported => {
                    Error::Denied { what: format!("to {what}"), fault: status.error_message }
                }
                _ => Error::unreachable(what, format_args!("{}: {}", self.name, status.error_message)),
            }),
            Err(Fault::Theirs(error)) => {
                let mut slot = self.connection.lock().await;
                if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, &connection)) {
                    *slot = None;
                }
                Err(Error::unreachable(what, format_args!("{}: {error}", self.name)))
            }
        }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    /// Makes the folders above a file. One that cannot be made is told of by what is done in it.
    async fn make_folders(&self, session: &SftpSession, path: &str) -> Result<(), Fault> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let is_known = |folder: &str| self.folders.lock().unwrap_or_else(PoisonError::into_inner).contains(folder);
        if is_known(folder) || session.try_exists(folder).await? {
            self.folders.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned());
            return Ok(());
        }
        let ends = folder.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        for end in ends.chain([folder.len()]) {
            match session.create_dir(&folder[..end]).await {
                // There already, made by another meanwhile, or not to be made.
                Ok(()) | Err(SftpError::Status(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn write(&self, session: &SftpSession, temp: &str, source: &Source) -> Result<(), Fault> {
        let flags = OpenFlags::CREATE | OpenFlags::EXCLUDE | OpenFlags::WRITE;
        let mut file = session.open_with_flags(temp, flags).await?;
        let mut reader = source.open()?;
        while let Some(chunk) = tokio::task::block_in_place(|| reader.next())? {
            file.write_all(&chunk).await.map_err(SftpError::from)?;
        }
        // Synced there, where the server can do that.
        file.flush().await.map_err(SftpError::from)?;
        file.close().await.map_err(SftpError::from)?;
        Ok(())
    }
}

/// Why something with a connection failed.
enum Fault {
    Ours(Error),
    Theirs(SftpError),
}

impl From<SftpError> for Fault {
    fn from(error: SftpError) -> Self {
        Self::Theirs(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

/// `None` when it is not there.
fn present<T>(result: Result<T, SftpError>) -> Result<Option<T>, SftpError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait::async_trait(?Send)]
impl Backend for Sftp {
    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let read = async |connection: &Arc<Connection>| -> Result<_, Fault> {
            let mut names = Vec::new();
            let mut folders = vec![folder.to_owned()];
            for _ in 0..DEPTH_MAX {
                let lists = folders.drain(..).map(|folder| async move {
                    let entries = present(connection.session.read_dir(self.path(&folder)).await)?;
                    Ok::<_, Fault>((folder, entries))
                });
                let lists: Vec<_> = futures::stream::iter(lists).buffer_unordered(LISTS_MAX).try_collect().await?;
                for (folder, entries) in lists {
                    for entry in
                        entries.into_iter().flatten().filter(|entry| !entry.file_name().starts_with(TEMP_PREFIX))
                    {
                        let name = entry.file_name();
                        if name.contains(['/', '\0']) {
                            let fault = "the remote lists it as the name of one file";
                            return Err(Error::RefusedName { name: name.escape_debug().to_string(), fault }.into());
                        }
                        let path = format!("{folder}/{name}");
                        if entry.file_type().is_dir() { folders.push(path) } else { names.push(path) }
                    }
                }
                if folders.is_empty() {
                    return Ok(names);
                }
            }
            let fault = "its folders are deeper than those of a remote";
            Err(Error::RefusedName { name: folders[0].escape_debug().to_string(), fault }.into())
        };
        self.with(&format!("list {folder}"), read).await
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>> {
        let what = format!("look for {key}");
        let found = self
            .with(&what, async |connection| Ok(present(connection.session.metadata(self.path(key.as_str())).await)?));
        let Some(found) = found.await? else { return Ok(None) };
        let fault = "the server does not say how long it is".to_owned();
        found.size.map(Some).ok_or(Error::Denied { what: format!("to {what}"), fault })
    }

    async fn get(&self, key: &Key) -> Result<Option<Chunks>> {
        let what = format!("read {key}");
        let opened = self.with(&what, async |connection| {
            let file = present(connection.session.open(self.path(key.as_str())).await)?;
            Ok(file.map(|file| (file, Arc::clone(connection))))
        });
        let Some(opened) = opened.await? else { return Ok(None) };
        let chunks = futures::stream::try_unfold(opened, move |(file, connection)| {
            let what = what.clone();
            async move {
                let (file, chunk) = read_chunk(file, &what).await?;
                Ok(chunk.map(|chunk| (chunk, (file, connection))))
            }
        });
        Ok(Some(chunks.boxed()))
    }

    async fn put(&self, key: &Key, source: &Source, mode: Mode) -> Result<Put> {
        let path = self.path(key.as_str());
        let send = async |connection: &Arc<Connection>| -> Result<Put, Fault> {
            let session = &connection.session;
            self.make_folders(session, &path).await?;
            let (folder, _) = path.rsplit_once('/').unwrap_or(("", &path));
            let temp = format!("{folder}/{TEMP_PREFIX}{}", uuid::Uuid::now_v7().simple());
            let named = async {
                self.write(session, &temp, source).await?;
                if mode == Mode::Overwrite {
                    present(session.remove_file(&path).await)?;
                }
                // In version 3 of the protocol a new name that is taken is an error.
                Ok::<_, Fault>(session.rename(&temp, &path).await?)
            };
            let Err(fault) = named.await else { return Ok(Put::Created) };
            // What cannot be removed carries a temporary name.
            let _ = session.remove_file(&temp).await;
            match fault {
                Fault::Theirs(SftpError::Status(_)) if session.try_exists(&path).await? => Ok(Put::Existed),
                other => Err(other),
            }
        };
        self.with(&format!("write {key}"), send).await
    }
}

/// Reads on; the file comes back with what was read, `None` at its end.
async fn read_chunk(mut file: File, what: &str) -> Result<(File, Option<Bytes>)> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut filled = 0;
    while filled < chunk.len() {
        match file.read(&mut chunk[filled..]).await {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) => return Err(Error::unreachable(what, error)),
        }
    }
    chunk.truncate(filled);
    Ok((file, (filled > 0).then(|| chunk.into())))
}
