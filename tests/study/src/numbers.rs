//! How figures are written in the document.

use crate::figures::Quantiles;

/// Three figures, and no more than are before the point; thousands apart.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 10_000.0 => count(value.round() as usize),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// How many, thousands apart.
pub fn count(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share, in percent.
pub fn share(value: f64) -> String {
    match value * 100.0 {
        percent if percent > 0.0 && percent < 1.0 => format!("{percent:.2} %"),
        // Nearly all is not all.
        percent if percent < 100.0 && percent > 99.9 => format!("{:.2} %", (percent * 100.0).floor() / 100.0),
        percent => format!("{percent:.1} %"),
    }
}

/// A figure that may not have been measured.
pub fn maybe(value: Option<f64>) -> String {
    value.map_or(UNKNOWN.to_owned(), number)
}

/// A time in the unit that suits it.
pub fn time(micros: f64) -> String {
    match micros {
        0.0 => "0".to_owned(),
        micros if micros < 1e3 => format!("{} µs", number(micros)),
        micros if micros < 1e6 => format!("{} ms", number(micros / 1e3)),
        micros => format!("{} s", number(micros / 1e6)),
    }
}

/// Half, and 99 of 100, of what is in units of so many microseconds.
pub fn times(of: Quantiles, unit_us: f64) -> String {
    match of.count {
        0 => UNKNOWN.to_owned(),
        _ => format!("{} / {}", time(of.p50 * unit_us), time(of.p99 * unit_us)),
    }
}

/// Words one after another: `a`, `a and b`, `a, b and c`.
pub fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A table.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut lines = vec![line(&head), format!("|{}", "---|".repeat(head.len()))];
    lines.extend(rows.into_iter().map(|row| line(&row)));
    lines.join("\n")
}

/// In the place of what was not measured.
pub const UNKNOWN: &str = "–";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_figures_and_their_thousands_apart() {
        let written = [0.0, 0.8264, 7.891, 49.02, 161.7, 1_422.4, 12_345.6, 1_255_190.0].map(number);
        assert_eq!(written, ["0", "0.826", "7.89", "49.0", "162", "1422", "12,346", "1,255,190"]);
        assert_eq!([4, 100, 1_000].map(count), ["4", "100", "1,000"]);
    }

    #[test]
    fn nearly_all_is_not_written_as_all() {
        assert_eq!(
            [1.0, 0.9999, 0.967, 0.002, 0.0].map(share),
            ["100.0 %", "99.99 %", "96.7 %", "0.20 %", "0.0 %"]
        );
    }

    #[test]
    fn a_time_has_the_unit_that_suits_it() {
        assert_eq!(
            [0.0, 158.0, 2_137.0, 42_000.0, 3_554_000.0].map(time),
            ["0", "158 µs", "2.14 ms", "42.0 ms", "3.55 s"]
        );
    }

    #[test]
    fn words_are_listed_as_one_says_them() {
        let of = |words: &[&str]| list(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            [of(&[]), of(&["a"]), of(&["a", "b"]), of(&["a", "b", "c"])],
            ["", "a", "a and b", "a, b and c"]
        );
    }
}
