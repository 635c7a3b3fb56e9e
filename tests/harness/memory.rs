//! What the kernel says of a process.

use std::{fs, path::PathBuf};

/// Bytes that it has in memory.
pub fn resident(process: u32) -> u64 {
    number(process, "VmRSS:") << 10
}

/// The most it ever had.
pub fn peak(process: u32) -> u64 {
    number(process, "VmHWM:") << 10
}

/// A line of its status.
pub fn number(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(folder(process).join("status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}

/// Files that it has open, sockets included.
pub fn files(process: u32) -> usize {
    fs::read_dir(folder(process).join("fd")).expect("it lives").count()
}

fn folder(process: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{process}"))
}
