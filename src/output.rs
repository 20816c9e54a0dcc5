//! What people and scripts read: results on standard output, everything else on standard error.

use crate::exit::{Exit, Failure, Outcome};
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

/// Writes `line` and a line end to standard output at once, so that whoever reads a pipe sees it now.
///
/// # Errors
/// [`Failure::nobody_listens`] when the reader went away, which ends the verb quietly.
pub fn line(line: impl fmt::Display) -> Outcome {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(failed)
}

/// Writes text that ends its own lines.
///
/// # Errors
/// As [`line`].
pub fn text(text: impl fmt::Display) -> Outcome {
    let mut out = io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).map_err(failed)
}

/// Writes one JSON object on one line.
///
/// # Errors
/// As [`line`].
pub fn json(value: &serde_json::Value) -> Outcome {
    line(value)
}

/// Writes a step that was done, with its time before it.
///
/// # Errors
/// As [`line`].
pub fn step(took: Duration, says: impl fmt::Display) -> Outcome {
    line(format!("{:>12}  {says}", millis(took)))
}

/// A remark for the person at the terminal, on standard error. Whether anybody reads it does not matter.
pub fn remark(remark: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{remark}");
}

/// A duration as a person compares it: milliseconds with two decimals.
pub fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1_000.0)
}

/// Milliseconds as JSON has them.
pub fn millis_json(duration: Duration) -> serde_json::Value {
    serde_json::json!((duration.as_secs_f64() * 100_000.0).round() / 100.0)
}

fn failed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::nobody_listens()
    } else {
        Failure::new(Exit::Local, "standard output", crate::exit::plain(&error))
    }
}
