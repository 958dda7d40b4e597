//! A folder that is mounted as a file system that must not be mapped, and a process that works in it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use tempfile::TempDir;

/// A mounted folder; unmounted when dropped.
pub struct Mount {
    folder: TempDir,
    has_locks: bool,
    server: Option<Child>,
}

impl Mount {
    /// Mounts a folder; `None`, and a line that says why, where that is not possible.
    pub fn new(has_locks: bool) -> Option<Self> {
        let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
        if !root || !Path::new("/dev/fuse").exists() {
            println!("skipped: a store on a FUSE mount: it takes root and /dev/fuse");
            return None;
        }
        let folder = tempfile::tempdir().expect("folder");
        for name in ["behind", "mount", "scratch"] {
            std::fs::create_dir(folder.path().join(name)).expect("folder");
        }
        let mut mount = Self { folder, has_locks, server: None };
        mount.mount();
        if mount.server.is_none() {
            println!("skipped: a store on a FUSE mount: mounting one is not allowed here");
            return None;
        }
        Some(mount)
    }

    /// Mounts the folder, again after [`Mount::kill`].
    pub fn mount(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mirror-mount"));
        command.arg(self.folder.path().join("behind")).arg(self.path()).stdout(Stdio::piped());
        if !self.has_locks {
            command.arg("--no-locks");
        }
        let mut server = command.spawn().expect("start the file system");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("piped")).read_line(&mut line).expect("its first line");
        if line == "ready\n" {
            self.server = Some(server);
        } else {
            server.wait().expect("reaped");
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    /// The store in it.
    pub fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    /// The store as the local folder holds it.
    pub fn store_behind(&self) -> PathBuf {
        self.folder.path().join("behind/store")
    }

    /// A local folder for journals.
    pub fn scratch(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    /// A local file.
    pub fn local(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends a signal to the process that serves the mount.
    pub fn signal(&self, name: &str) {
        let pid = self.server.as_ref().expect("mounted").id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill").success());
    }

    /// Kills the process that serves the mount: every operation fails from now on.
    pub fn kill(&mut self) {
        let mut server = self.server.take().expect("mounted");
        server.kill().expect("SIGKILL");
        server.wait().expect("reaped");
    }

    /// Takes the dead mount away.
    pub fn unmount(&self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        self.unmount();
    }
}

/// A process that does what it is told.
pub struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// Command line of a worker for the store at `store`, with journals in `scratch`.
pub fn command(store: &Path, scratch: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_store-worker"));
    command.arg(store).env("STEPWELL_JOURNAL_DIR", scratch);
    command
}

/// The same on another machine, as far as a process can tell: host name and boot are others.
pub fn command_elsewhere(store: &Path, scratch: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--uts", "sh", "-c", "hostname stepwell-elsewhere && exec \"$@\"", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_store-worker")).arg(store);
    command.env("STEPWELL_JOURNAL_DIR", scratch).env("STEPWELL_BOOT_ID", "of-another-machine");
    command
}

impl Worker {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start the worker");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { input: child.stdin.take(), output, child }
    }

    /// Tells it something, and waits for the answer.
    pub fn ask(&mut self, line: &str) -> String {
        writeln!(self.input.as_ref().expect("open"), "{line}").expect("the worker listens");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("the worker answers");
        answer.trim_end().to_owned()
    }

    /// Files that it has mapped, with their paths.
    pub fn maps(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/maps", self.child.id())).expect("maps")
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("reaped");
    }

    /// Lets it end by itself.
    pub fn end(mut self) -> ExitStatus {
        drop(self.input.take());
        self.child.wait().expect("reaped")
    }

    /// Lets it end by itself; what it had written to its standard error, when that was piped.
    pub fn end_and_tell(mut self) -> String {
        drop(self.input.take());
        let output = self.child.wait_with_output().expect("reaped");
        String::from_utf8(output.stderr).expect("UTF-8")
    }
}
