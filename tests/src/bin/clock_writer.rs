//! A writer under a wall clock that a campaign steps.
//!
//! The engine reads the wall clock through the vDSO, past any library that could be put in front of it. So this program
//! replaces `__vdso_clock_gettime` in its own memory: every reader of this process sees the stepped clock,
//! and no other process does. Monotonic clocks and the processor's counter stay as they are, as when somebody sets the time.
//!
//! Invariants:
//!
//! 1. The address in the auxiliary vector is that of an ELF image that the kernel mapped, and it stays mapped.
//! 2. The image is replaced before any other thread exists, so nobody runs it meanwhile; the function has at least the
//!    12 bytes of a jump.
#![allow(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stepwell_engine::{Access, Run, RunOptions, Store};
use stepwell_tests::acknowledge::Acknowledgements;
use stepwell_tests::control::Control;
use stepwell_tests::lanes::{BURST, Fault, Lane};
use stepwell_tests::{METRICS_NAME, metric_of, tight_config, value_of};

/// Exit status when the clock cannot be stepped here.
const NOT_HERE: u8 = 77;
const PAUSE: Duration = Duration::from_millis(1);

static CONTROL: OnceLock<Control> = OnceLock::new();

fn main() -> Result<ExitCode, Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [store, run, page, control, lane] = words.as_slice() else {
        return Err("clock-writer STORE RUN PAGE CONTROL LANE".into());
    };
    let control = CONTROL.get_or_init(|| Control::open(Path::new(control)).expect("control page"));
    if let Err(why) = step_the_clock() {
        println!("{why}");
        return Ok(ExitCode::from(NOT_HERE));
    }
    let store = Store::open_with(store, Access::Create, tight_config(4096))?;
    let run = store.start_run(RunOptions::new("processes", "clock").run_id(run.parse()?))?;
    work(&run, &Acknowledgements::open(Path::new(page))?, control, lane.parse()?)?;
    Ok(ExitCode::SUCCESS)
}

/// State 1: started. Order 1: finish. State 2: finished. The figure is that of syncs and segments so far.
fn work(run: &Run, page: &Acknowledgements, control: &Control, lane: usize) -> Result<(), Fault> {
    control.tell(1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let old = scope.spawn(|| Lane { lane, page, counter: 0, pause: PAUSE }.log(run, &stop));
        let new = scope.spawn(|| log_with_new_loggers(run, page, lane + 1, &stop));
        while control.ordered() < 1 && !old.is_finished() && !new.is_finished() {
            let stats = run.stats();
            control.tell_figure(stats.segments.min(stats.syncs));
            std::thread::sleep(PAUSE);
        }
        stop.store(true, Ordering::Release);
        old.join().map_err(|_| "a thread panicked")??;
        new.join().map_err(|_| "a thread panicked")?
    })?;
    let report = run.finish()?;
    if report.drops > 0 || !report.warnings.is_empty() {
        return Err(format!("{report:?}").into());
    }
    control.tell(2);
    Ok(())
}

/// A logger takes the wall clock when it is made; each burst has one of its own.
fn log_with_new_loggers(run: &Run, page: &Acknowledgements, lane: usize, stop: &AtomicBool) -> Result<(), Fault> {
    let metric = run.metric(METRICS_NAME, &metric_of(lane))?;
    let mut step = 0;
    while !stop.load(Ordering::Acquire) {
        let mut log = run.logger()?;
        for _ in 0..BURST {
            log.log(metric, step, value_of(lane, step))?;
            step += 1;
            page.acknowledge(1, step as u64);
        }
        drop(log);
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// What takes the place of the vDSO's function, with its result: 0 or a negative error number.
extern "C" fn stepped_clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    // SAFETY: the caller's pointer goes to the kernel, which checks it.
    if unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) } != 0 {
        return -libc::EINVAL;
    }
    if clock == libc::CLOCK_REALTIME || clock == libc::CLOCK_REALTIME_COARSE {
        // SAFETY: the kernel has just written to it.
        let time = unsafe { &mut *time };
        let nanos = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
        let nanos = nanos + i128::from(CONTROL.get().map_or(0, Control::clock));
        time.tv_sec = nanos.div_euclid(1_000_000_000) as i64;
        time.tv_nsec = nanos.rem_euclid(1_000_000_000) as i64;
    }
    0
}

/// Puts a copy of the vDSO in its place, with a jump to our function in it: the kernel lets nobody write to the original.
#[cfg(target_arch = "x86_64")]
fn step_the_clock() -> Result<(), String> {
    let (base, bytes, code) = find_in_vdso(b"__vdso_clock_gettime")?;
    // SAFETY: INV-1.
    let mut copy = unsafe { std::slice::from_raw_parts(base as *const u8, bytes) }.to_vec();
    let jump = &mut copy[code - base..][..12];
    jump.copy_from_slice(&[0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0]);
    jump[2..10].copy_from_slice(&(stepped_clock_gettime as *const () as u64).to_le_bytes());
    let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: INV-1, INV-2: nobody runs the code while it is replaced, and it finds its data relative to itself, where it
    // was before.
    unsafe {
        if libc::mmap(base as *mut libc::c_void, bytes, all, flags, -1, 0) == libc::MAP_FAILED {
            return Err(format!("this kernel does not let its vDSO be replaced: {}", std::io::Error::last_os_error()));
        }
        (base as *mut u8).copy_from_nonoverlapping(copy.as_ptr(), bytes);
    }
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn step_the_clock() -> Result<(), String> {
    Err("the clock is stepped on x86-64 alone".to_owned())
}

/// Address and length of the vDSO, and address of one of its functions: an ELF image of 64 bits without section headers (System V ABI, chapter 5).
#[cfg(target_arch = "x86_64")]
fn find_in_vdso(name: &[u8]) -> Result<(usize, usize, usize), String> {
    // SAFETY: a plain system call.
    let base = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
    if base == 0 {
        return Err("this kernel has no vDSO".to_owned());
    }
    // SAFETY: INV-1; every address below comes out of the image's own tables.
    let word = |address: usize| unsafe { (address as *const u64).read_unaligned() } as usize;
    // SAFETY: the same.
    let half = |address: usize| unsafe { (address as *const u16).read_unaligned() } as usize;
    // SAFETY: the same.
    let byte = |address: usize| unsafe { (address as *const u8).read() };
    let (headers, count) = (base + word(base + 32), half(base + 56));
    let header_of = |kind: usize| {
        let headers = (0..count).map(|n| headers + n * half(base + 54));
        headers.into_iter().find(|header| word(*header) & 0xffff_ffff == kind)
    };
    let (load, dynamic) = (header_of(1).ok_or("no PT_LOAD")?, header_of(2).ok_or("no PT_DYNAMIC")?);
    let slide = base + word(load + 8) - word(load + 16);
    let entries = (0..).map(|n| slide + word(dynamic + 16) + 16 * n).take_while(|entry| word(*entry) != 0);
    let entry = |tag: usize| entries.clone().find(|entry| word(*entry) == tag).map(|entry| slide + word(entry + 8));
    let (texts, symbols) = (entry(5).ok_or("no DT_STRTAB")?, entry(6).ok_or("no DT_SYMTAB")?);
    // The texts follow the symbols.
    for symbol in (symbols..texts).step_by(24) {
        let text = texts + (word(symbol) & 0xffff_ffff);
        if (0..=name.len()).all(|n| byte(text + n) == name.get(n).copied().unwrap_or(0)) {
            let bytes = (word(load + 16) + word(load + 40)).next_multiple_of(4096);
            return Ok((base, bytes, slide + word(symbol + 8)));
        }
    }
    Err("no such function in the vDSO".to_owned())
}
