//! Small file systems that a test makes, mounts, breaks and takes away again.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Times that an unmount is tried while the kernel still lets go of a process that was killed.
const UNMOUNT_TRIES: u32 = 2_000;

/// Runs a program to its end.
///
/// # Errors
/// What it said, when it could not be started or failed.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
    Err(format!("{program} {}: {said}", arguments.join(" ")))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

/// Folder for what must not wait for a disk: memory where there is such a folder.
pub fn memory_folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a temporary folder")
}

/// A file system in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// How it is called in messages.
    pub name: &'static str,
    /// Program that makes it.
    pub mkfs: &'static str,
    /// Arguments of that program; the file is added.
    pub arguments: &'static [&'static str],
    /// Options it is mounted with, besides `loop`.
    pub options: &'static str,
    /// Size of the file.
    pub bytes: u64,
}

/// ext4 as it is by default.
pub const EXT4_ORDERED: Kind = Kind {
    name: "ext4 data=ordered",
    mkfs: "mkfs.ext4",
    arguments: &["-q", "-F"],
    options: "data=ordered",
    bytes: 128 << 20,
};

/// ext4 that writes names and sizes before the content they speak of.
pub const EXT4_WRITEBACK: Kind = Kind { name: "ext4 data=writeback", options: "data=writeback", ..EXT4_ORDERED };

/// xfs.
pub const XFS: Kind =
    Kind { name: "xfs", mkfs: "mkfs.xfs", arguments: &["-q", "-f"], options: "noatime", bytes: 320 << 20 };

/// A mounted file system that goes with this value.
pub struct Volume {
    folder: tempfile::TempDir,
    kind: Option<Kind>,
    mounted: bool,
}

impl Volume {
    /// Makes and mounts a file system in a file that lies in memory.
    ///
    /// # Errors
    /// Why that cannot be done here: no permission, no such program or file system.
    pub fn create(kind: Kind) -> Result<Self, String> {
        let mut volume = Self { folder: memory_folder(), kind: Some(kind), mounted: false };
        std::fs::create_dir(volume.path()).map_err(|error| error.to_string())?;
        volume.format()?;
        Ok(volume)
    }

    /// Mounts memory as a file system of its own.
    ///
    /// # Errors
    /// As [`Volume::create`].
    pub fn tmpfs(options: &str) -> Result<Self, String> {
        let mut volume = Self { folder: memory_folder(), kind: None, mounted: false };
        std::fs::create_dir(volume.path()).map_err(|error| error.to_string())?;
        run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", text(&volume.path())])?;
        volume.mounted = true;
        Ok(volume)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// The file that it is in.
    pub fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Makes the file system anew, empty.
    ///
    /// # Errors
    /// As [`Volume::create`].
    pub fn format(&mut self) -> Result<(), String> {
        self.unmount()?;
        let kind = self.kind.expect("memory is not formatted");
        let file = File::create(self.image()).and_then(|file| file.set_len(kind.bytes));
        file.map_err(|error| error.to_string())?;
        let image = self.image();
        let arguments: Vec<&str> = kind.arguments.iter().copied().chain([text(&image)]).collect();
        run(kind.mkfs, &arguments)?;
        self.mount()
    }

    /// Mounts it, with a loop device of its own: what the last mount kept in memory is gone.
    ///
    /// # Errors
    /// What `mount` said.
    pub fn mount(&mut self) -> Result<(), String> {
        let options = format!("loop,{}", self.kind.expect("memory stays mounted").options);
        run("mount", &["-o", &options, text(&self.image()), text(&self.path())])?;
        self.mounted = true;
        Ok(())
    }

    /// Unmounts it.
    ///
    /// # Errors
    /// What `umount` said at the last of many tries.
    pub fn unmount(&mut self) -> Result<(), String> {
        let mut tries = 0;
        while self.mounted {
            match run("umount", &[text(&self.path())]) {
                Ok(_) => self.mounted = false,
                Err(error) if tries == UNMOUNT_TRIES => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
            tries += 1;
        }
        // The name may be free while another mount namespace still holds the file system. Two at work on one image would
        // destroy it, so the loop device has to be gone, too.
        while self.kind.is_some() && !run("losetup", &["-j", text(&self.image())])?.is_empty() {
            if tries == UNMOUNT_TRIES {
                return Err("the loop device is still in use".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
            tries += 1;
        }
        Ok(())
    }

    /// Cuts the power: whatever is not on the device, the file system's own log included, is gone.
    ///
    /// # Errors
    /// When the file system cannot do that.
    pub fn cut(&self) -> io::Result<()> {
        shut_down(&File::open(self.path())?)
    }

    /// Name of its block device, `loop3` say.
    ///
    /// # Errors
    /// When it is not mounted.
    pub fn device(&self) -> Result<String, String> {
        let path = run("findmnt", &["-n", "-o", "SOURCE", text(&self.path())])?;
        Ok(path.trim().trim_start_matches("/dev/").to_owned())
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.unmount().is_err() {
            // Whatever still holds it, the name is free and the rest goes with the last user.
            let _ = run("umount", &["-l", text(&self.path())]);
        }
    }
}

/// `FS_IOC_SHUTDOWN` with `FS_SHUTDOWN_FLAGS_NOLOGFLUSH`.
#[allow(unsafe_code)]
fn shut_down(folder: &File) -> io::Result<()> {
    const FS_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
    let no_log_flush: u32 = 2;
    // SAFETY: the request reads one u32 through the pointer, which outlives the call.
    let done = unsafe { libc::ioctl(folder.as_raw_fd(), FS_IOC_SHUTDOWN, &raw const no_log_flush) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
