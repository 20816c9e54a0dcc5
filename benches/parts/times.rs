//! What many times come to, and the processor time of a process.

use std::time::Duration;

/// Times taken, to be told by quantiles.
#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn of(mut taken: Vec<Duration>) -> Self {
        taken.sort_unstable();
        Self(taken)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// In microseconds.
    pub fn quantile(&self, q: f64) -> f64 {
        let at = self.0.get((self.0.len() as f64 * q) as usize).or(self.0.last());
        at.map_or(0.0, |taken| taken.as_secs_f64() * 1e6)
    }
}

/// Nanoseconds of CPU that the threads of a process have used which live now.
pub fn cpu_of_threads(pid: u32) -> Option<u64> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Some(tasks.filter_map(of).sum())
}
