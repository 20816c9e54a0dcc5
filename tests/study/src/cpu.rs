//! Processor time, as the system accounts for it: of one process, and of the machine.

/// What has been used so far, in microseconds of one core.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// By anybody.
    pub busy_us: f64,
    /// By anybody or nobody: all there was.
    pub all_us: f64,
}

impl Machine {
    /// Since the machine was started; `None`: this system does not tell.
    pub fn now() -> Option<Self> {
        let told = std::fs::read_to_string("/proc/stat").ok()?;
        Self::of(told.lines().next()?)
    }

    /// Of the line that begins with `cpu`: ticks of user, nice, system, idle, waiting and more. What a hypervisor gave to others (the eighth)
    /// is not this machine's to idle with, so it counts as used.
    fn of(line: &str) -> Option<Self> {
        let ticks: Option<Vec<f64>> = line
            .strip_prefix("cpu ")?
            .split_whitespace()
            .map(|field| field.parse().ok())
            .collect();
        // Guests' time, from the ninth on, is in the first two already.
        let ticks = ticks?;
        let all: f64 = ticks.iter().take(8).sum();
        let idle: f64 = ticks.iter().skip(3).take(2).sum();
        Some(Self {
            busy_us: (all - idle) * TICK_US,
            all_us: all * TICK_US,
        })
    }

    /// The share of all there was since `earlier` that was used by others than whoever used `own_us`.
    pub fn others(self, earlier: Self, own_us: f64) -> f64 {
        let all = (self.all_us - earlier.all_us).max(TICK_US);
        ((self.busy_us - earlier.busy_us - own_us) / all).clamp(0.0, 1.0)
    }
}

/// What a process has used so far, in microseconds: all its threads, those that have ended too. `None`: this system does not tell.
pub fn of_process(id: u32) -> Option<f64> {
    of_stat(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// The 14th and 15th field of what the system tells of a process, in ticks.
fn of_stat(told: &str) -> Option<f64> {
    // The second field is a name in brackets, which may have anything in it.
    let (_, after) = told.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) * TICK_US)
}

/// What a tick of the system's accounts is, in microseconds: 100 a second wherever `/proc` is.
const TICK_US: f64 = 10_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_used_what_its_user_and_system_fields_say_whatever_its_name() {
        let told = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 25 5 0 0 20 0 1 0 100 1000 10";
        assert_eq!(of_stat(told), Some(300_000.0));
        assert_eq!(of_stat("7 (a) S 1"), None);
        assert_eq!(of_stat("nothing"), None);
    }

    #[test]
    fn others_have_had_what_was_used_and_not_by_us() {
        let (before, after) = (
            Machine::of("cpu  100 0 0 100 0 0 0 0 50 0"),
            Machine::of("cpu  150 0 30 190 20 0 0 10 90 0"),
        );
        let (before, after) = (before.expect("a line"), after.expect("a line"));
        // 200 ticks in all, 90 of them used.
        assert!((after.others(before, 50.0 * TICK_US) - 0.2).abs() < 1e-9);
        assert_eq!(after.others(before, 95.0 * TICK_US), 0.0, "accounts are not exact");
        assert!(Machine::of("intr 1 2 3").is_none());
    }
}
