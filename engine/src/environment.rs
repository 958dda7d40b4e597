//! The machine that a run was started on. Read from files; no process is started, and the values of environment variables are
//! never taken: they hold secrets.

use std::path::{Path, PathBuf};

/// Largest file that is read.
const BYTES_MAX: u64 = 1 << 20;
/// Limits from which on a control group sets none.
const NO_LIMIT_BYTES: u64 = 1 << 60;
/// Environment variables that are there only in a container, with its name. Only whether they are there is looked at.
const VARIABLES: [(&str, &str); 4] = [
    ("KUBERNETES_SERVICE_HOST", "kubernetes"),
    ("APPTAINER_CONTAINER", "apptainer"),
    ("SINGULARITY_CONTAINER", "singularity"),
    ("container", "container"),
];
/// Files that are there only in a container, with its name.
const FILES: [(&str, &str); 3] =
    [(".dockerenv", "docker"), ("run/.containerenv", "podman"), (".singularity.d", "singularity")];
/// Words in the path of a control group, with the name of what made it.
const GROUPS: [(&str, &str); 5] = [
    ("kubepods", "kubernetes"),
    ("docker", "docker"),
    ("libpod", "podman"),
    ("containerd", "containerd"),
    ("/lxc", "lxc"),
];

/// The machine that a run was started on. What is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Environment {
    /// Name of the host.
    pub host: String,
    /// Name and version of the operating system, such as `Debian GNU/Linux 12 (bookworm)`.
    pub os: Option<String>,
    /// Name and release of the kernel.
    pub kernel: String,
    /// Architecture of the processor, such as `x86_64`.
    pub architecture: String,
    /// Model of the processor.
    pub cpu: Option<String>,
    /// Processors that the process may run on.
    pub cpus: u64,
    /// Memory of the machine in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory that the process may take in bytes, where its control group sets a limit.
    pub memory_limit_bytes: Option<u64>,
    /// Kind of container: `docker`, `podman`, `kubernetes`, `apptainer`, ... `None` outside of one, as far as can be seen.
    pub container: Option<String>,
    /// Name and version of the driver of the graphics processors.
    pub gpu_driver: Option<String>,
}

impl Environment {
    /// The machine of this process.
    ///
    /// # Cost
    /// About twenty small files are looked for: less than a millisecond.
    pub fn capture() -> Self {
        Self::below(Path::new("/"), &|name| std::env::var_os(name).is_some())
    }

    fn below(root: &Path, has_variable: &dyn Fn(&str) -> bool) -> Self {
        let read = |path: &str| read(&root.join(path));
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        Self {
            host: text(uname.nodename()),
            os: read("etc/os-release").and_then(|text| os_of(&text)),
            kernel: format!("{} {}", text(uname.sysname()), text(uname.release())),
            architecture: text(uname.machine()),
            cpu: read("proc/cpuinfo").and_then(|text| after(&text, "model name")),
            cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
            memory_bytes: read("proc/meminfo").and_then(|text| {
                after(&text, "MemTotal")?.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
            }),
            memory_limit_bytes: memory_limit(&read),
            container: container(root, &read, has_variable),
            gpu_driver: gpu_driver(&read),
        }
    }

    /// What is known, as lines of `name: value`, always in the same order.
    pub fn to_text(&self) -> String {
        let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes.to_string());
        let lines = [
            ("host", Some(self.host.clone())),
            ("os", self.os.clone()),
            ("kernel", Some(self.kernel.clone())),
            ("architecture", Some(self.architecture.clone())),
            ("cpu", self.cpu.clone()),
            ("cpus", Some(self.cpus.to_string())),
            ("memory_bytes", bytes(self.memory_bytes)),
            ("memory_limit_bytes", bytes(self.memory_limit_bytes)),
            ("container", self.container.clone()),
            ("gpu_driver", self.gpu_driver.clone()),
        ];
        let known = lines.into_iter().filter_map(|(name, value)| Some((name, value?)));
        known.map(|(name, value)| format!("{name}: {}\n", value.replace(['\n', '\r'], " "))).collect()
    }
}

fn read(path: &PathBuf) -> Option<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The value of the first line `name: value`.
fn after(text: &str, name: &str) -> Option<String> {
    let mut values = text.lines().filter_map(|line| line.split_once(':'));
    values.find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim().to_owned())
}

fn os_of(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    let name = line.trim().trim_matches(['"', '\'']);
    (!name.is_empty()).then(|| name.to_owned())
}

/// The lowest limit of the control groups that this process is in.
fn memory_limit(read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let mut files = vec!["sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned()];
    // Version 2: the limits of every group above hold as well.
    let groups = read("proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let is_inside = !group.split('/').any(|part| part == "..");
    for above in Path::new(group).ancestors().filter(|_| is_inside) {
        files.push(format!("sys/fs/cgroup/{}", above.join("memory.max").display()));
    }
    let limits = files.iter().filter_map(|file| read(file)?.trim().parse::<u64>().ok());
    limits.filter(|bytes| *bytes < NO_LIMIT_BYTES).min()
}

fn container(
    root: &Path,
    read: &dyn Fn(&str) -> Option<String>,
    has_variable: &dyn Fn(&str) -> bool,
) -> Option<String> {
    let by_variable = |name: &&(&str, &str)| has_variable(name.0);
    let by_file = |name: &&(&str, &str)| root.join(name.0).exists();
    let groups = read("proc/self/cgroup").unwrap_or_default();
    let by_group = |name: &&(&str, &str)| groups.contains(name.0);
    // The last variable is set by any of them: whoever says more comes before it.
    let (last, first) = VARIABLES.split_last()?;
    let found = first.iter().find(by_variable);
    let found = found.or_else(|| FILES.iter().find(by_file)).or_else(|| GROUPS.iter().find(by_group));
    found.or_else(|| Some(last).filter(by_variable)).map(|(_, name)| (*name).to_owned())
}

fn gpu_driver(read: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let version = |module: &str| {
        let version = read(&format!("sys/module/{module}/version"))?;
        Some(format!("{module} {}", version.trim()))
    };
    // In a container, the one may be hidden and the other not.
    let told = || {
        let text = read("proc/driver/nvidia/version")?;
        let line = text.lines().find_map(|line| line.strip_prefix("NVRM version:"))?;
        let is_version =
            |word: &&str| word.contains('.') && word.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit());
        line.split_whitespace().find(is_version).map(|version| format!("nvidia {version}"))
    };
    version("nvidia").or_else(told).or_else(|| version("amdgpu")).or_else(|| version("xe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)], variables: &[&str]) -> Environment {
        let root = tempfile::tempdir().expect("folder");
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, text).expect("written");
        }
        Environment::below(root.path(), &|name| variables.contains(&name))
    }

    #[test]
    fn a_machine_is_described_by_its_files() {
        let found = machine(
            &[
                ("etc/os-release", "NAME=x\nPRETTY_NAME=\"Some Linux 12\"\n"),
                ("proc/cpuinfo", "processor\t: 0\nmodel name\t: Fast CPU\n"),
                ("proc/meminfo", "MemTotal:       1024 kB\nMemFree: 1 kB\n"),
                ("proc/self/cgroup", "0::/kubepods/pod1\n"),
                ("sys/fs/cgroup/kubepods/memory.max", "4096\n"),
                ("sys/fs/cgroup/kubepods/pod1/memory.max", "max\n"),
                (
                    "proc/driver/nvidia/version",
                    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n",
                ),
            ],
            &[],
        );
        assert_eq!(found.os.as_deref(), Some("Some Linux 12"));
        assert_eq!(found.cpu.as_deref(), Some("Fast CPU"));
        assert_eq!((found.memory_bytes, found.memory_limit_bytes), (Some(1 << 20), Some(4096)));
        assert_eq!(found.container.as_deref(), Some("kubernetes"));
        assert_eq!(found.gpu_driver.as_deref(), Some("nvidia 535.183.01"));
        let text = found.to_text();
        assert!(
            text.ends_with("memory_limit_bytes: 4096\ncontainer: kubernetes\ngpu_driver: nvidia 535.183.01\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 10);
    }

    #[test]
    fn what_is_not_there_is_not_known() {
        let found = machine(&[("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")], &[]);
        let Environment { os, cpu, memory_bytes, memory_limit_bytes, container, gpu_driver, .. } = found.clone();
        assert_eq!((os, cpu, container, gpu_driver), (None, None, None, None));
        assert_eq!((memory_bytes, memory_limit_bytes), (None, None));
        assert!(!found.kernel.is_empty() && found.cpus > 0);
    }

    #[test]
    fn containers_are_known_by_what_they_leave() {
        assert_eq!(machine(&[(".dockerenv", "")], &["container"]).container.as_deref(), Some("docker"));
        assert_eq!(machine(&[("run/.containerenv", "")], &[]).container.as_deref(), Some("podman"));
        assert_eq!(
            machine(&[(".dockerenv", "")], &["KUBERNETES_SERVICE_HOST"]).container.as_deref(),
            Some("kubernetes")
        );
        assert_eq!(machine(&[], &["container"]).container.as_deref(), Some("container"));
    }

    #[test]
    fn no_value_of_an_environment_variable_is_taken() {
        // Every test runs under cargo, which sets these.
        let text = Environment::capture().to_text();
        let values = std::env::vars().filter(|(name, value)| name.starts_with("CARGO") && value.len() > 8);
        for (name, value) in values {
            assert!(!text.contains(&value), "{name}");
        }
    }
}
