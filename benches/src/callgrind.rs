//! Instructions of this program, counted by callgrind, a tool of valgrind.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;

/// Asks `prctl` for the auxiliary vector.
#[cfg(target_os = "linux")]
const PR_GET_AUXV: u64 = 0x4155_5856;

/// Whether valgrind can be run.
pub fn is_there() -> bool {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    cfg!(target_os = "linux") && version.is_ok_and(|status| status.success())
}

/// Becomes valgrind, running this program with `arguments`; the counts of each thread go to files whose names begin with `output`.
///
/// The crate `rustix` finds the code of the kernel for `clock_gettime` (the vDSO) by asking the kernel, past valgrind, which has hidden that code:
/// the program would end by SIGSEGV. A seccomp filter has the kernel refuse the question; `rustix` then reads a file that
/// valgrind puts its own version of in the place of. See issue 1559 of `rustix`.
///
/// # Errors
/// When valgrind cannot be started.
#[cfg(target_os = "linux")]
pub fn become_valgrind(output: &Path, arguments: &[String]) -> Result<()> {
    use std::os::unix::process::CommandExt;

    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };

    let asks = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, PR_GET_AUXV)?;
    let rules = [(libc::SYS_prctl, vec![SeccompRule::new(vec![asks])?])].into_iter().collect();
    let refused = SeccompAction::Errno(libc::EINVAL as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, std::env::consts::ARCH.try_into()?)?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    let error = Command::new("valgrind")
        .args(["--tool=callgrind", "--separate-threads=yes"])
        .arg(format!("--callgrind-out-file={}", output.display()))
        .arg(std::env::current_exe()?)
        .args(arguments)
        .exec();
    Err(error.into())
}

/// Valgrind counts on Linux only.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn become_valgrind(_output: &Path, _arguments: &[String]) -> Result<()> {
    Err("instructions are counted on Linux only".into())
}

/// Instructions of the first thread of a program that was counted into files whose names begin with `output`.
///
/// # Errors
/// When there is no such file, or no total in it.
pub fn total_of_first_thread(output: &Path) -> Result<u64> {
    let path = format!("{}-01", output.display());
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    Ok(total.ok_or_else(|| format!("{path} has no total"))?.trim().parse()?)
}
