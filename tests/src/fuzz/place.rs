//! The store an input is put into: that of a dead writer with one run, made once and kept in memory.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use stepwell_engine::layout::Layout;
use stepwell_engine::{Access, RunId, WriterId};

use crate::damage::image::StoreImage;
use crate::damage::look::{Look, View, look, message};
use crate::damage::samples::idle_writer;
use crate::memory_folder;

thread_local! {
    static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

/// A store without records, written anew for each input.
pub struct Place {
    /// Where it is.
    pub root: PathBuf,
    /// The run.
    pub run: RunId,
    /// Its dead writer.
    pub writer: WriterId,
    /// First bytes of the writer's journal: fixed header.
    pub header: Vec<u8>,
}

struct Base {
    image: StoreImage,
    run: RunId,
    writer: WriterId,
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let folder = memory_folder();
        let (image, run, writer) = idle_writer(&folder.path().join("store"));
        Base { image, run, writer }
    })
}

impl Place {
    /// A fresh store, in the folder of this thread.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn new() -> Self {
        let base = base();
        let root = FOLDER.with_borrow_mut(|folder| folder.get_or_insert_with(memory_folder).path().join("store"));
        base.image.write(&root).expect("the store");
        let bytes = |suffix| base.image.files[base.image.only(suffix)].bytes.clone();
        let header = bytes(".journal")[..96].to_vec();
        Self { root, run: base.run, writer: base.writer, header }
    }

    /// Where the files of the store are.
    pub fn layout(&self) -> Layout {
        Layout::new(&self.root)
    }

    /// Path of the journal.
    pub fn journal(&self) -> PathBuf {
        self.layout().journal(self.run, self.writer, 0)
    }

    /// Opens the store for reading and for logging; `None` for one that was refused.
    ///
    /// # Panics
    /// When the engine panicked, or refused for a reason that is none.
    pub fn views(&self) -> [Option<View>; 2] {
        [Access::Read, Access::Write].map(|access| match look(&self.root, access, &[self.run]) {
            Look::Seen(mut view) => {
                view.verify().expect("verified");
                Some(*view)
            }
            Look::Refused(error) => {
                let text = message(&error);
                assert!(text.contains("format version"), "{access:?}: {text}");
                None
            }
            Look::Panicked(words) => panic!("opened for {access:?}, the engine panicked: {words}"),
        })
    }
}

/// Writes a file whose folder may be missing.
///
/// # Panics
/// When it cannot be written.
pub fn put(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
    std::fs::write(path, bytes).expect("file");
}
