//! Where results go: stdout, or the file of `-o`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::path::Path;

use crate::error::{CliError, Result};

/// Stdout, buffered, which knows whether somebody still reads it.
pub struct Out {
    stream: BufWriter<Stdout>,
    is_terminal: bool,
    reader_has_left: bool,
}

impl Out {
    /// The process's stdout.
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        Self { stream: BufWriter::with_capacity(1 << 16, stdout), is_terminal, reader_has_left: false }
    }

    /// Whether a person reads it.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether colours are wanted: on a terminal, unless `NO_COLOR` is set.
    pub fn has_colours(&self) -> bool {
        self.is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// Whether a write failed because the other end of the pipe is closed.
    pub fn reader_has_left(&self) -> bool {
        self.reader_has_left
    }

    /// Writes what is still buffered.
    ///
    /// # Errors
    /// [`CliError::Output`].
    pub fn finish(&mut self) -> Result<()> {
        Ok(self.flush()?)
    }

    fn noticed<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.reader_has_left |= error.kind() == io::ErrorKind::BrokenPipe;
        }
        result
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.stream.write(bytes);
        self.noticed(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.stream.flush();
        self.noticed(result)
    }
}

/// Writes a file whole or not at all: into a temporary file beside it, which then takes its name.
///
/// # Errors
/// [`CliError::Io`], or what `fill` returns.
pub fn write_file(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let temp = path.with_file_name(format!(".{file_name}.{}.tmp", std::process::id()));
    let written = write_and_rename(&temp, path, fill);
    if written.is_err() {
        // The error is what counts; a temporary file that cannot be removed was most likely never made.
        let _ = std::fs::remove_file(&temp);
    }
    written
}

fn write_and_rename(temp: &Path, path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    // A device or pipe (`-o /dev/stdout`) cannot be replaced by a rename; it is written to directly.
    let is_special = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
    let target = if is_special { path } else { temp };
    let mut file = BufWriter::new(File::create(target).map_err(CliError::io("write", path))?);
    fill(&mut file)?;
    file.flush().map_err(CliError::io("write", path))?;
    if is_special { Ok(()) } else { std::fs::rename(temp, path).map_err(CliError::io("write", path)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_filled_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        let failed = write_file(&path, |_| Err(CliError::NoRuns { action: "show" }));
        assert!(failed.is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        write_file(&path, |file| Ok(file.write_all(b"a\n")?)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"a\n");
    }
}
