//! Measuring, and showing what was measured.

#![expect(dead_code, reason = "every bench uses another part of it")]

use std::time::{Duration, Instant};

pub fn title(text: &str) {
    println!("\n{text}");
}

pub fn row(name: &str, text: &str) {
    println!("  {name:<44} {text}");
}

/// Median and 99th percentile.
pub fn spread(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

pub fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

/// Runs `work` so many times and tells how long each took.
pub async fn timed<F: Future>(times: usize, mut work: impl FnMut() -> F) -> Vec<Duration> {
    let mut all = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        work().await;
        all.push(begun.elapsed());
    }
    all
}

pub fn show(name: &str, mut times: Vec<Duration>) -> Duration {
    let (p50, p99) = spread(&mut times);
    row(name, &format!("p50 {:7.0} µs   p99 {:7.0} µs", micros(p50), micros(p99)));
    p50
}

/// How much was done in a second, and what it cost.
pub struct Rate {
    pub each: f64,
    pub cpu: f64,
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:8.0} /s   {:6.1} µs CPU each", self.each, self.cpu)
    }
}

pub async fn rate(events: u64, work: impl AsyncFnOnce()) -> Rate {
    let (begun, cpu) = (Instant::now(), cpu_time());
    work().await;
    let (took, cpu) = (begun.elapsed(), cpu_time().saturating_sub(cpu));
    Rate { each: events as f64 / took.as_secs_f64(), cpu: micros(cpu) / events as f64 }
}

/// Memory of this process, in KB: resident pages, but one that is mapped in many slots, as
/// the image of a component is, only once.
pub fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a size");
    line.split_whitespace().next().and_then(|kb| kb.parse().ok()).expect("a number")
}

pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
