//! The `ssh` program, which brings the user's own settings, agent, hardware keys, jump hosts and known hosts with it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::credentials::Credentials;
use crate::error::{Error, Result};
use crate::location::{Location, decoded};

/// Names the program to start instead of `ssh`.
const PROGRAM_VARIABLE: &str = "STEPWELL_SSH";
/// Carries the password to the script that `ssh` asks; only `ssh` and that script get it.
const SECRET_VARIABLE: &str = "STEPWELL_SSH_SECRET";
/// Answers what `ssh` asks for: no to an unknown host, else the secret.
const ASKPASS: &str =
    "#!/bin/sh\ncase \"$1\" in\n*yes/no*) echo no ;;\n*) printf '%s\\n' \"$STEPWELL_SSH_SECRET\" ;;\nesac\n";
/// Times, 10 ms apart, that its last messages are waited for.
const READS_MAX: usize = 200;
/// Lines of its messages that are kept.
const MESSAGES_MAX: usize = 20;

/// Where to connect, and as whom.
pub(super) struct Target {
    host: String,
    user: Option<String>,
    port: Option<u16>,
    credentials: Credentials,
}

/// A running `ssh` with the SFTP subsystem behind it; it is ended when this is dropped.
pub(super) struct Ssh {
    child: Child,
    messages: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
    _askpass: Option<Askpass>,
}

/// A script in a folder of its own, both for this user alone; removed when dropped.
struct Askpass {
    folder: PathBuf,
}

impl Target {
    /// # Errors
    /// [`Error::InvalidUrl`] of a host or user that a shell, or `ssh` itself, could take for something else.
    pub(super) fn new(location: &Location, credentials: &Credentials) -> Result<Self> {
        let url = &location.url;
        let invalid = |fault: &str| Error::InvalidUrl { url: url.to_string(), fault: fault.to_owned() };
        let host = decoded(url.host_str().unwrap_or_default()).trim_matches(['[', ']']).to_owned();
        let user = Some(decoded(url.username())).filter(|user| !user.is_empty());
        let is_plain = |text: &str, more: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c) || more.contains(c);
            !text.is_empty() && !text.starts_with('-') && text.chars().all(fits)
        };
        if !is_plain(&host, ":") {
            return Err(invalid("its host holds something else than letters, digits, `.`, `_`, `-` and `:`"));
        }
        if !user.as_ref().is_none_or(|user| is_plain(user, "@+\\")) {
            return Err(invalid("its user holds something else than letters, digits, `.`, `_`, `-`, `+` and `@`"));
        }
        Ok(Self { host, user, port: url.port(), credentials: credentials.clone() })
    }

    /// Starts `ssh` and returns the socket that carries SFTP.
    pub(super) fn connect(&self) -> Result<(Ssh, UnixStream)> {
        let program = std::env::var_os(PROGRAM_VARIABLE).filter(|name| !name.is_empty());
        let program = program.unwrap_or_else(|| "ssh".into());
        let failed = Error::io("start", PathBuf::from(&program));
        let secret = self.credentials.key_passphrase.as_ref().or(self.credentials.password.as_ref());
        let askpass = secret.map(|_| Askpass::new()).transpose()?;
        let mut command = Command::new(&program);
        self.arguments(&mut command, askpass.is_some());
        if let (Some(askpass), Some(secret)) = (&askpass, secret) {
            command.env("SSH_ASKPASS", askpass.script()).env("SSH_ASKPASS_REQUIRE", "force");
            command.env(SECRET_VARIABLE, secret);
            // Older ones ask the script only where there is a display.
            command.env("DISPLAY", std::env::var_os("DISPLAY").unwrap_or_else(|| ":0".into()));
        }
        let (ours, theirs) = UnixStream::pair().map_err(Error::io("open a socket for", PathBuf::from(&program)))?;
        let output = theirs.try_clone().map_err(Error::io("open a socket for", PathBuf::from(&program)))?;
        command.stdin(OwnedFd::from(theirs)).stdout(OwnedFd::from(output)).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::InvalidSetting {
                fault: format!(
                    "remotes reached by SSH need OpenSSH's program, and {program:?} is not there; install it, or name it in \
                     {PROGRAM_VARIABLE}"
                ),
            },
            _ => failed(error),
        })?;
        let messages = Arc::new(Mutex::new(VecDeque::new()));
        let reader = child.stderr.take().map(|stderr| {
            let messages = Arc::clone(&messages);
            std::thread::spawn(move || keep_messages(BufReader::new(stderr), &messages))
        });
        Ok((Ssh { child, messages, reader, _askpass: askpass }, ours))
    }

    fn arguments(&self, command: &mut Command, has_secret: bool) {
        let mut option = |text: &str| {
            command.args(["-o", text]);
        };
        // Nobody is there to answer. What can be asked is answered by the script.
        option(if has_secret { "NumberOfPasswordPrompts=1" } else { "BatchMode=yes" });
        option("ConnectTimeout=10");
        option("ServerAliveInterval=15");
        option("ServerAliveCountMax=4");
        option("ForwardAgent=no");
        option("ForwardX11=no");
        option("ClearAllForwardings=yes");
        if let Some(path) = &self.credentials.known_hosts {
            option(&format!("UserKnownHostsFile={}", quoted(path)));
        }
        if let Some(path) = &self.credentials.key_file {
            option(&format!("IdentityFile={}", quoted(path)));
            option("IdentitiesOnly=yes");
        }
        if let Some(port) = self.port {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &self.user {
            command.args(["-l", user]);
        }
        command.args(["-T", "-s", "--", &self.host, "sftp"]);
    }
}

/// A path as an option's value: in quotes, `%` doubled.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.to_string_lossy().replace('%', "%%").replace('"', "\\\""))
}

fn keep_messages(lines: impl BufRead, messages: &Mutex<VecDeque<String>>) {
    for line in lines.lines().map_while(Result::ok) {
        let mut messages = messages.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() == MESSAGES_MAX {
            messages.pop_front();
        }
        // What a server says must not steer the terminal.
        messages.push_back(line.chars().filter(|c| !c.is_control()).collect());
    }
}

impl Ssh {
    /// Ends the program and explains why there is no connection, in its own words.
    pub(super) fn explain(mut self, what: &str, error: &dyn std::fmt::Display) -> Error {
        let _ = self.child.kill();
        // A jump host's process may hold the pipe open; what it says then is not waited for.
        let is_read = || self.reader.as_ref().is_none_or(JoinHandle::is_finished);
        for _ in 0..READS_MAX {
            if is_read() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let said: Vec<&str> = messages.iter().map(|line| line.trim()).filter(|line| is_telling(line)).collect();
        if said.is_empty() {
            return Error::unreachable(what, error);
        }
        let said = said.join(" ");
        let what_to_do = if said.contains("Host key verification failed") || said.contains("host key is known") {
            "; connect once with `ssh`, look at the host's key, and accept it"
        } else if said.contains("Permission denied") {
            "; a key in the agent or `--key-file`, or a password in the file of credentials lets you in"
        } else if said.contains("subsystem request failed") {
            "; the host must offer SFTP"
        } else {
            return Error::unreachable(what, said);
        };
        Error::Denied { what: format!("to {what}"), fault: format!("{said}{what_to_do}") }
    }
}

/// Whether a line says why there is no connection, rather than how a warning is drawn.
fn is_telling(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('@') && !line.starts_with("Warning: Permanently added")
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Askpass {
    fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("stepwell-{}", uuid::Uuid::now_v7().simple()));
        let failed = || Error::io("write a script into", folder.clone());
        // Of mode 0700, and not there before.
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder).map_err(failed())?;
        let made = Self { folder: folder.clone() };
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(made.script());
        file.and_then(|mut file| file.write_all(ASKPASS.as_bytes())).map_err(failed())?;
        Ok(made)
    }

    fn script(&self) -> PathBuf {
        self.folder.join("answer")
    }
}

impl Drop for Askpass {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target> {
        Target::new(&Location::parse(url)?, &Credentials::default())
    }

    #[test]
    fn what_a_shell_or_ssh_would_take_for_something_else_is_refused() {
        for good in ["ssh://host/x", "sftp://me@10.0.0.7:2222/x", "ssh://a.b+c@[::1]/x"] {
            assert!(target(good).is_ok(), "{good}");
        }
        for bad in [
            "ssh://-oProxyCommand=id/x",
            "ssh://%2doProxyCommand=id/x",
            "ssh://a;id/x",
            "ssh://$(id)@h/x",
            "ssh://-l@h/x",
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_secret_is_an_answer_to_a_question_for_it_alone_and_leaves_nothing() {
        let askpass = Askpass::new().expect("script");
        let (folder, script) = (askpass.folder.clone(), askpass.script());
        let ask = |question| {
            let output = Command::new(&script).arg(question).env(SECRET_VARIABLE, "a 'b' $c").output().expect("run");
            String::from_utf8(output.stdout).expect("text")
        };
        assert_eq!(ask("me@host's password: "), "a 'b' $c\n");
        assert_eq!(ask("Are you sure (yes/no/[fingerprint])? "), "no\n");
        drop(askpass);
        assert!(!folder.exists());
    }
}
