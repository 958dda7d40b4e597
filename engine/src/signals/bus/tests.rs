use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicU8, AtomicU64};

use super::*;
use crate::storage::{Disk, Region, Storage};

const PAGES: u64 = 16;
/// Tells a test that it is the child of itself, and what to do.
const ROLE: &str = "STEPWELL_BUS_ROLE";

fn page_bytes() -> u64 {
    // SAFETY: asks for a setting.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}

/// A word of a page of a mapping.
fn word(region: &dyn Region, page: u64) -> &AtomicU64 {
    assert!(((page + 1) * page_bytes()) as usize <= region.len());
    // SAFETY: inside the mapping, aligned to a page, and reached through atomics only.
    unsafe { AtomicU64::from_ptr(region.base().add((page * page_bytes()) as usize).as_ptr().cast()) }
}

/// A mapped file with the number of each page in it, 1 for the first, cut off before page `cut`.
fn mapped_and_cut(folder: &tempfile::TempDir, cut: u64) -> Box<dyn Region> {
    let path = folder.path().join("mapped");
    let region = Disk.create_new(&path).and_then(|file| file.map(PAGES * page_bytes())).expect("mapped");
    for page in 0..PAGES {
        word(&*region, page).store(page + 1, Ordering::Relaxed);
    }
    assert!(!region.is_lost());
    OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(cut * page_bytes())).expect("cut off");
    region
}

#[test]
fn pages_that_were_cut_off_read_as_zeros_and_can_be_stored_to() {
    let folder = tempfile::tempdir().expect("folder");
    let region = mapped_and_cut(&folder, 4);
    assert!(!region.is_lost(), "nothing was missed yet");
    for page in 0..PAGES {
        let left = if page < 4 { page + 1 } else { 0 };
        assert_eq!(word(&*region, page).load(Ordering::Relaxed), left, "page {page}");
        word(&*region, page).store(100 + page, Ordering::Relaxed);
        assert_eq!(word(&*region, page).load(Ordering::Relaxed), 100 + page, "page {page}");
        assert_eq!(region.is_lost(), page >= 4);
    }
    let file = std::fs::read(folder.path().join("mapped")).expect("read");
    assert_eq!(file.len() as u64, 4 * page_bytes());
    assert_eq!(file[3 * page_bytes() as usize], 103, "the pages that were left are the file's still");
}

#[test]
fn threads_that_miss_the_same_pages_at_once_lose_no_store() {
    let folder = tempfile::tempdir().expect("folder");
    for _ in 0..50 {
        let region = mapped_and_cut(&folder, 0);
        let stored = |thread: usize, page: u64| {
            assert!(thread < 8);
            // SAFETY: the words of a page are as many as its bytes by eight.
            unsafe { AtomicU8::from_ptr(word(&*region, page).as_ptr().cast::<u8>().add(8 + thread)) }
        };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || (0..PAGES).for_each(|page| stored(thread, page).store(7, Ordering::Relaxed)));
            }
        });
        for (thread, page) in (0..4).flat_map(|thread| (0..PAGES).map(move |page| (thread, page))) {
            assert_eq!(stored(thread, page).load(Ordering::Relaxed), 7, "page {page}, thread {thread}");
        }
        std::fs::remove_file(folder.path().join("mapped")).expect("removed");
    }
}

#[test]
fn the_content_of_a_page_that_can_still_be_read_is_kept() {
    let folder = tempfile::tempdir().expect("folder");
    let region = mapped_and_cut(&folder, PAGES);
    let guarded = Guard::new(region.base().as_ptr(), region.len()).expect("room in the table");
    let address = word(&*region, 5).as_ptr().addr();
    let page = address & !(page_bytes() as usize - 1);
    // As the handler does after a store that failed; the file is whole here, so that the page can be read.
    assert!(replace_once(&guarded.pages, address, false));
    assert!(guarded.pages.is_replaced(page) && guarded.is_lost());
    assert_eq!(word(&*region, 5).load(Ordering::Relaxed), 6);
    word(&*region, 5).store(9, Ordering::Relaxed);
    assert!(replace_once(&guarded.pages, address, false), "the second thread finds it replaced");
    assert_eq!(word(&*region, 5).load(Ordering::Relaxed), 9);
    let file = std::fs::read(folder.path().join("mapped")).expect("read");
    assert_eq!(file[5 * page_bytes() as usize], 6, "it is no longer the file's");
}

/// Runs one of the tests below in a process of its own, with a role, and returns how it ended.
fn child(test: &str, role: &str) -> std::process::ExitStatus {
    let name = format!("signals::bus::tests::{test}");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env(ROLE, role);
    let output = command.output().expect("started");
    print!("{}", String::from_utf8_lossy(&output.stderr));
    output.status
}

fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

fn set_handler(handler: extern "C" fn(c_int)) {
    // SAFETY: the handlers below make system calls only.
    unsafe { libc::signal(libc::SIGBUS, handler as usize) };
}

/// A fault in a mapping that is no journal.
fn miss_a_foreign_page(folder: &tempfile::TempDir) {
    let path = folder.path().join("foreign");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).expect("created");
    file.set_len(page_bytes()).expect("length");
    let map = memmap2::MmapOptions::new().len(page_bytes() as usize).map_raw(&file).expect("mapped");
    file.set_len(0).expect("cut off");
    // SAFETY: inside the mapping; what comes of it is what is tested.
    unsafe { map.as_mut_ptr().write_volatile(1) };
}

extern "C" fn exit_with_55(_signal: c_int) {
    // SAFETY: ends the process.
    unsafe { libc::_exit(55) };
}

extern "C" fn restore_and_raise(signal: c_int) {
    // SAFETY: what a fault handler does that has restored what it found, had it found ours.
    unsafe { libc::raise(signal) };
}

#[test]
fn a_fault_elsewhere_goes_where_it_went_before() {
    let Some(role) = role() else {
        let test = "a_fault_elsewhere_goes_where_it_went_before";
        assert_eq!(child(test, "default").signal(), Some(libc::SIGBUS));
        assert_eq!(child(test, "handler").code(), Some(55));
        assert_eq!(child(test, "raised").signal(), Some(libc::SIGBUS), "and does not go round in circles");
        return;
    };
    match role.as_str() {
        "handler" => set_handler(exit_with_55),
        "raised" => set_handler(restore_and_raise),
        // SAFETY: the runtime has a handler for overflows of the stack, which is not needed here.
        _ => unsafe {
            libc::signal(libc::SIGBUS, libc::SIG_DFL);
        },
    }
    let folder = tempfile::tempdir().expect("folder");
    let region = mapped_and_cut(&folder, 0);
    word(&*region, 3).store(1, Ordering::Relaxed);
    assert!(region.is_lost(), "a journal's page is replaced all the same");
    miss_a_foreign_page(&folder);
    unreachable!("the fault was not told");
}

#[test]
fn a_signal_that_was_sent_ends_the_program_as_before() {
    let Some(_) = role() else {
        assert_eq!(child("a_signal_that_was_sent_ends_the_program_as_before", "sent").signal(), Some(libc::SIGBUS));
        return;
    };
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
    let folder = tempfile::tempdir().expect("folder");
    let _region = mapped_and_cut(&folder, PAGES);
    // SAFETY: what comes of it is what is tested.
    unsafe { libc::raise(libc::SIGBUS) };
    unreachable!("the signal was lost");
}

#[test]
fn the_signal_is_left_alone_until_a_file_is_mapped() {
    let Some(_) = role() else {
        assert!(child("the_signal_is_left_alone_until_a_file_is_mapped", "look").success());
        return;
    };
    let handler = || {
        let mut action = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: asks for the disposition, which the call fills in.
        unsafe {
            assert_eq!(libc::sigaction(libc::SIGBUS, ptr::null(), action.as_mut_ptr()), 0);
            action.assume_init().sa_sigaction
        }
    };
    let folder = tempfile::tempdir().expect("folder");
    let before = handler();
    let store = crate::Store::open(folder.path().join("store")).expect("a store");
    let run = store.start_run(crate::RunOptions::new("p", "s")).expect("a run");
    assert_eq!(handler(), before);
    let _log = run.logger().expect("a logger");
    let ours: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_bus_error;
    assert_eq!(handler(), ours as usize);
}
