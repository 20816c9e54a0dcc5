//! What people and scripts read: results on standard output, everything else on standard error.

use crate::exit::{Exit, Failure, Outcome};
use crate::show;
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

/// Writes bytes as they are.
///
/// # Errors
/// As [`line`].
pub fn bytes(bytes: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(failed)
}

/// Writes one JSON object on one line.
///
/// # Errors
/// As [`line`].
pub fn json(value: &serde_json::Value) -> Outcome {
    line(for_terminals(&value.to_string()))
}

/// The same JSON, with what a terminal would act upon escaped: JSON itself asks that only of some. On one line it stands in strings only.
fn for_terminals(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if show::is_harmful(c) {
            out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// Writes a step that was done, with its time before it.
///
/// # Errors
/// As [`line`].
pub fn step(took: Duration, says: impl fmt::Display) -> Outcome {
    line(format!("{:>12}  {says}", millis(took)))
}

/// How many columns and rows the terminal has that standard output is shown on; `None`: it is no terminal.
pub fn screen() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    let known = size.ws_col > 0 && size.ws_row > 0;
    known.then_some((usize::from(size.ws_col), usize::from(size.ws_row)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn json_reaches_no_terminal_with_what_it_would_act_upon_and_says_the_same() {
        let said = json!({ "text": "\u{9b}2J \u{7f}\u{202e}\u{e0041} \" é \n" });
        let shown = for_terminals(&said.to_string());
        assert!(!shown.chars().any(show::is_harmful), "{shown}");
        assert!(shown.contains('é'));
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), said);
    }
}
