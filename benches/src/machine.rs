//! Says what the figures were measured on.

use std::fs;
use std::path::Path;

pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory: String,
    kernel: String,
    file_system: String,
}

impl Machine {
    /// What `/proc` tells; what it does not tell is `unknown`.
    pub(crate) fn describe(folder: &Path) -> Machine {
        Machine {
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory: field("/proc/meminfo", "MemTotal"),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |text| text.trim().to_owned()),
            file_system: file_system(folder),
        }
    }

    pub(crate) fn text(&self) -> String {
        let Machine { cpu, cores, memory, kernel, file_system } = self;
        format!("{cpu}, {cores} cores, {memory} memory, Linux {kernel}, {file_system}")
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The value of the first `name : value` line of a file in `/proc`.
fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name));
    value.map_or_else(unknown, |(_, value)| value.trim().to_owned())
}

/// Type and options of the mount that holds `folder`: the mount point with the most components above it wins.
fn file_system(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut best: Option<(usize, String)> = None;
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(point), Some(kind), Some(options)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let depth = Path::new(point).components().count();
        // A later mount on the same point hides the earlier one.
        if folder.starts_with(point) && best.as_ref().is_none_or(|(most, _)| depth >= *most) {
            best = Some((depth, format!("{kind} ({options})")));
        }
    }
    best.map_or_else(unknown, |(_, text)| text)
}
