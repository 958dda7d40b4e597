//! Limits of the process and of the file system: file size, inodes, a file system that turned read-only, a stderr that
//! cannot be written. Quotas are not tried: they need a kernel that has them; `EDQUOT` is among the injected errors.

use std::fs::File;

use stepwell_tests::board::{CALLS_MAX, Signal};
use stepwell_tests::volume::{EXT4_ORDERED, Kind, Volume, XFS, memory_folder, run};

use crate::full::Filler;
use crate::training::Training;
use crate::vanished::journals;

/// ext4 that turns read-only at the first error.
const FRAGILE_EXT4: Kind = Kind { name: "ext4 with errors=remount-ro", options: "errors=remount-ro", ..EXT4_ORDERED };

/// Sizes that a file may have: less than a journal, less than a catalog, and enough for a short run.
const SIZES: [&str; 3] = ["--fsize=65536", "--fsize=150000", "--fsize=400000"];

/// Most snapshots that are taken until a page finds no room.
const SNAPSHOTS_MAX: u32 = 20;

fn train_with_file_size_limit(wrapper: &[&str]) {
    if let Err(why) = run("prlimit", &["--version"]) {
        return println!("skipped: a limit on the size of files: {why}");
    }
    for size in SIZES {
        let folder = memory_folder();
        let words: Vec<&str> = wrapper.iter().copied().chain(["prlimit", size]).collect();
        let mut training = Training::start(&folder.path().join("store"), 20_000, 20, &words);
        training.go();
        let status = training.end_by_itself();
        let report = training.report();
        crate::training::check_status(status, &report).unwrap_or_else(|fault| panic!("{size}: {fault}"));
        training.check(&report).unwrap_or_else(|fault| panic!("{size}: {fault}"));
    }
}

#[test]
fn a_limit_on_the_size_of_files_does_not_end_training_that_ignores_its_signal() {
    // As Python does.
    train_with_file_size_limit(&["env", "--ignore-signal=XFSZ"]);
}

#[test]
fn a_limit_on_the_size_of_files_does_not_end_training() {
    train_with_file_size_limit(&["env", "--default-signal=XFSZ"]);
}

// A sealer that could not write a segment said so with `eprintln!`, which panics when stderr cannot be written: a log file
// on the same full disk is enough. The panic was caught, and telling of it panicked again, outside: the sealer was gone for
// all runs of the process, and every later record was dropped. In `sync`, the panic came out of the user's own call.
#[test]
fn a_stderr_that_cannot_be_written_does_not_end_training() {
    let volume = match Volume::tmpfs("size=12m") {
        Ok(volume) => volume,
        Err(why) => return println!("skipped: stderr on a full disk: {why}"),
    };
    let wrapper = ["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"];
    let mut training = Training::start(&volume.path().join("store"), CALLS_MAX, 20, &wrapper);
    training.go();
    training.wait_for_taken(5_000);
    let filler = Filler::fill(&volume.path());
    training.wait_until("a full ring", |board| board.get(Signal::Refused) > 0);
    filler.free();
    // The sealer has told of the full disk by now, or tried to; it must be alive still.
    training.wait_for_taken(2 * 4096);
    let report = training.end_well();
    training.check(&report).unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn logging_resumes_by_itself_when_there_are_inodes_again() {
    let volume = match Volume::tmpfs("size=32m,nr_inodes=200") {
        Ok(volume) => volume,
        Err(why) => return println!("skipped: a file system without inodes: {why}"),
    };
    let mut training = Training::start(&volume.path().join("store"), CALLS_MAX, 20, &[]);
    training.go();
    training.wait_for_taken(5_000);
    let folder = volume.path().join("inodes");
    std::fs::create_dir(&folder).expect("folder");
    let taken = (0..).map_while(|n| File::create(folder.join(n.to_string())).ok()).count();
    assert!(taken > 0);
    training.wait_until("a full ring", |board| board.get(Signal::Refused) > 100);
    std::fs::remove_dir_all(&folder).expect("inodes given back");
    training.wait_for_taken(2 * 4096);
    let report = training.end_well();
    let checked = training.check(&report).unwrap_or_else(|fault| panic!("{fault}"));
    let (taken, refused) = (training.board.get(Signal::Taken), training.board.get(Signal::Refused));
    assert_eq!(report.finished, Some((taken, refused)));
    assert_eq!((checked.tally.kept, checked.told_full), (taken, refused));
}

#[test]
fn a_file_system_that_turns_read_only_does_not_end_training() {
    let mut volume = match Volume::create(FRAGILE_EXT4) {
        Ok(volume) => volume,
        Err(why) => return println!("skipped: a file system that turns read-only: {why}"),
    };
    let mut training = Training::start(&volume.path().join("store"), CALLS_MAX, 20, &[]);
    training.go();
    training.wait_for_taken(10_000);
    let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", volume.device().expect("its device"));
    if let Err(error) = std::fs::write(&trigger, "tried by a test") {
        return println!("skipped: a file system that turns read-only: {trigger}: {error}");
    }
    training.wait_until("a full ring", |board| board.get(Signal::Refused) > 100);
    let report = training.end_well();
    assert!(report.text.contains("Read-only file system") || report.text.contains("sync"), "{report:?}");
    volume.unmount().expect("unmounted");
    run("e2fsck", &["-p", "-f", volume.image().to_str().expect("UTF-8")]).unwrap_or_default();
    volume.mount().expect("mounted again");
    // What was not on the device is gone like after a power cut; what is there has to be in order, and no row invented.
    let checked = training.check_after_loss(&report).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(checked.tally.kept > 0);
}

// A store to a page of the journal that has to be copied first, because a snapshot shares it, needs room that a full disk does
// not have: SIGBUS ended the training process. The pages can still be read, so nothing is lost.
#[test]
fn a_snapshot_of_the_journal_on_a_full_disk_costs_nothing() {
    let volume = match Volume::create(XFS) {
        Ok(volume) => volume,
        Err(why) => return println!("skipped: a snapshot on a full disk: {why}"),
    };
    let mut training = Training::start(&volume.path().join("store"), CALLS_MAX, 20, &[]);
    training.go();
    training.wait_for_taken(6_000);
    let pid = training.child.id().to_string();
    let mut is_met = false;
    // What the program gives back when it finds the disk full may be room enough for the pages.
    for round in 0..SNAPSHOTS_MAX {
        // Stopped, it cannot have pages copied before the disk is full.
        run("kill", &["-STOP", &pid]).expect("stopped");
        for (number, journal) in journals(&training.store).into_iter().enumerate() {
            let copy = volume.path().join(format!("{round}-{number}"));
            let paths = [journal.to_str().expect("UTF-8"), copy.to_str().expect("UTF-8")];
            if let Err(why) = run("cp", &["--reflink=always", paths[0], paths[1]]) {
                training.child.kill().expect("SIGKILL");
                training.child.wait().expect("reaped");
                return println!("skipped: a snapshot on a full disk: {why}");
            }
        }
        let filler = Filler::fill(&volume.path());
        let refused = training.board.get(Signal::Refused);
        run("kill", &["-CONT", &pid]).expect("continued");
        training.wait_until("a full ring", |board| board.get(Signal::Refused) > refused);
        filler.free();
        training.wait_for_taken(2 * 4096);
        is_met = training.report().stderr.contains("pages of its journal");
        if is_met {
            break;
        }
    }
    let report = training.end_well();
    let checked = training.check(&report).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(checked.tally.kept, training.board.get(Signal::Taken), "{report:?}");
    if !is_met {
        println!("skipped: a snapshot on a full disk: there was room for its pages {SNAPSHOTS_MAX} times");
    }
}

/// Trains on a file system that goes down at once, like xfs does when its disk fails.
fn train_while_the_file_system_goes_down(kind: Kind) {
    let mut volume = match Volume::create(kind) {
        Ok(volume) => volume,
        Err(why) => return println!("skipped: {} that goes down: {why}", kind.name),
    };
    let mut training = Training::start(&volume.path().join("store"), CALLS_MAX, 20, &[]);
    training.go();
    training.wait_for_taken(10_000);
    volume.cut().expect("FS_IOC_SHUTDOWN");
    training.wait_until("a full ring", |board| board.get(Signal::Refused) > 100);
    let report = training.end_well();
    assert!(report.text.contains("Input/output error") || report.text.contains("sync"), "{report:?}");
    volume.unmount().expect("unmounted");
    volume.mount().expect("mounted again");
    let checked = training.check_after_loss(&report).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(checked.tally.kept > 0);
}

#[test]
fn an_ext4_that_goes_down_does_not_end_training() {
    train_while_the_file_system_goes_down(EXT4_ORDERED);
}

#[test]
fn an_xfs_that_goes_down_does_not_end_training() {
    train_while_the_file_system_goes_down(XFS);
}
