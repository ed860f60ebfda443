//! What the kernel says about this process: resident memory, bytes written, processor time. NaN where it says nothing (no `/proc`), so
//! that a row of the table says "unknown" instead of the whole run failing.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) resident_bytes: f64,
    pub(crate) peak_bytes: f64,
}

pub(crate) fn memory() -> Memory {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |name| number_after(&text, name) * 1024.0;
    Memory { resident_bytes: kilobytes("VmRSS:"), peak_bytes: kilobytes("VmHWM:") }
}

/// Lets the peak start again from what is resident now; false where the kernel does not offer it.
pub(crate) fn reset_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

#[derive(Clone, Copy)]
pub(crate) struct Written {
    /// Bytes handed to write calls of any kind, by all threads.
    pub(crate) call_bytes: f64,
    /// Bytes of pages this process made dirty on a block device.
    pub(crate) disk_bytes: f64,
}

pub(crate) fn written() -> Written {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    Written { call_bytes: number_after(&text, "wchar:"), disk_bytes: number_after(&text, "write_bytes:") }
}

/// Processor time of all threads so far, in user and kernel mode.
pub(crate) fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn number_after(text: &str, name: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|word| word.parse().ok())
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_grows_with_work() {
        let before = cpu_seconds();
        while cpu_seconds() - before < 0.001 {
            std::hint::spin_loop();
        }
        assert!(before >= 0.0);
    }

    #[test]
    fn numbers_are_found_by_the_whole_name_at_the_start_of_a_line() {
        let text = "rchar: 7\nwchar: 42\ncancelled_write_bytes: 9\nwrite_bytes: 8 kB\n";
        assert_eq!(number_after(text, "wchar:") as u64, 42);
        assert_eq!(number_after(text, "write_bytes:") as u64, 8);
        assert!(number_after(text, "VmRSS:").is_nan());
    }
}
