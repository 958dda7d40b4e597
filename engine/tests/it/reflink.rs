//! On a file system that clones, the store shares the blocks of the user's file.

use std::path::{Path, PathBuf};
use std::process::Command;

use stepwell_engine::layout::Layout;
use stepwell_engine::objects::{CheckoutOptions, Keep, TakeOptions, checkout, take_in};

/// A mounted xfs; unmounted at the end.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {said}")) }
}

fn mount_xfs(folder: &Path) -> Result<Mounted, String> {
    let (image, point) = (folder.join("image"), folder.join("mounted"));
    let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
    file.set_len(512 << 20).map_err(|error| error.to_string())?;
    std::fs::create_dir(&point).map_err(|error| error.to_string())?;
    let (image, point_text) = (image.to_string_lossy(), point.to_string_lossy());
    run("mkfs.xfs", &["-q", "-m", "reflink=1", &image])?;
    run("mount", &["-t", "xfs", "-o", "loop", &image, &point_text])?;
    Ok(Mounted(point.clone()))
}

#[test]
fn a_clone_shares_its_blocks_and_stays_as_it_was() {
    let folder = tempfile::tempdir().expect("folder");
    let mounted = match mount_xfs(folder.path()) {
        Ok(mounted) => mounted,
        Err(why) => return println!("skipped: no xfs could be made and mounted (root and mkfs.xfs are needed): {why}"),
    };
    let (store, file) = (mounted.0.join("store"), mounted.0.join("file"));
    std::fs::create_dir(&store).expect("store");
    let content: Vec<u8> = (0..64 << 20).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    std::fs::write(&file, &content).expect("written");
    let used = || {
        run("sync", &["-f", &mounted.0.to_string_lossy()]).expect("synced");
        let free = rustix::fs::statvfs(&mounted.0).expect("statvfs");
        (free.f_blocks - free.f_bfree) * free.f_frsize
    };
    let before = used();
    let layout = Layout::new(&store);
    let taken = take_in(&layout, &file, &TakeOptions::keep(Keep::Copy)).expect("taken in");
    assert_eq!((taken.kept.cloned, taken.kept.copied), (1, 0));
    let out = mounted.0.join("out");
    checkout(&layout, taken.hash, &out, &CheckoutOptions::default()).expect("checked out");
    let grown = used() - before;
    assert!(grown < 8 << 20, "two more files of 64 MiB took {grown} bytes");
    std::fs::write(&file, "another content").expect("changed");
    assert_eq!(taken.hash, blake3::hash(&content).into());
    assert!(std::fs::read(layout.object(taken.hash)).expect("object") == content, "the object changed with the file");
    assert!(std::fs::read(&out).expect("out") == content);
}
