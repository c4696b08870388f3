//! Numbers and messages as people read them.

use anyhow::Context as _;
use serde::Serialize;
use std::io::{self, Write as _};
use tersor::InputSize;

/// An integer with commas between thousands.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many things, in the right number.
pub(crate) fn count(n: usize, what: &str) -> String {
    let ending = if n == 1 { "" } else { "s" };
    format!("{} {what}{ending}", thousands(n as u64))
}

/// A share of an energy in decibels.
pub(crate) fn decibels(noise: f64) -> String {
    if noise == 0.0 {
        "none".into()
    } else {
        format!("{:.1} dB", 10.0 * noise.log10())
    }
}

/// A number in three digits: `0.0126`, `3.30e-8`.
pub(crate) fn three_digits(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let scientific = format!("{x:.2e}");
    // Of the rounded number: 0.0099999 is 0.0100.
    let exponent = scientific
        .rsplit_once('e')
        .and_then(|(_, e)| e.parse::<i32>().ok());
    match exponent {
        Some(e @ -3..3) => format!("{x:.*}", (2 - e) as usize),
        _ => scientific,
    }
}

/// A shape, such as `64x3x3x3`; `scalar` without axes.
pub(crate) fn shape(shape: &[u64]) -> String {
    if shape.is_empty() {
        return "scalar".into();
    }
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join("x")
}

/// A name that comes from outside, with what could steer a terminal escaped.
pub(crate) fn printable(name: &str) -> String {
    if name.chars().any(char::is_control) {
        name.escape_debug().to_string()
    } else {
        name.to_owned()
    }
}

/// A number that may be missing.
pub(crate) fn optional<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

/// An error with its causes. One that the message before it already ends with is not said twice.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// What ratios refer to: weights, of which bits per weight speak, and the trainable parameters among them.
pub(crate) fn weights(size: &InputSize) -> String {
    let trainable = if size.n_parameters == size.n_weights {
        "all".to_owned()
    } else {
        format!("{} of them", thousands(size.n_parameters))
    };
    format!("{} weights, {trainable} trainable", thousands(size.n_weights))
}

/// The first names of a list, and how many more there are.
pub(crate) fn names(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    let more = names.len().saturating_sub(SHOWN);
    let ending = if more > 0 {
        format!(" and {} more", thousands(more as u64))
    } else {
        String::new()
    };
    format!("{}{ending}", shown.join(", "))
}

/// How a file's size compares: the same words for every command.
pub(crate) fn ratios(ratio: f64, bpw: f64, ratio_paper: f64) -> String {
    format!("{ratio:.2}x, {bpw:.2} bits per weight, paper's ratio {ratio_paper:.2}x")
}

/// Writes to standard output. A reader that has seen enough changes nothing about the outcome.
pub(crate) fn out(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Writes a value to standard output as JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    out(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Writes to standard error. That it is closed is no reason to stop.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes warnings to standard error.
pub(crate) fn warn<T: AsRef<str>>(warnings: impl IntoIterator<Item = T>) {
    for warning in warnings {
        say(&format!("warning: {}", warning.as_ref()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated_from_the_right() {
        assert_eq!(
            [0, 999, 1000, 1_865_704].map(thousands),
            ["0", "999", "1,000", "1,865,704"]
        );
    }

    #[test]
    fn three_digits_are_kept_at_every_magnitude() {
        let cases = [
            (0.0126, "0.0126"),
            (3.3e-8, "3.30e-8"),
            (12.34, "12.3"),
            (-1.0, "-1.00"),
            (0.0, "0"),
            (1e5, "1.00e5"),
            (0.01f32.into(), "0.0100"),
            (999.96, "1.00e3"),
            (f64::INFINITY, "inf"),
        ];
        for (x, text) in cases {
            assert_eq!(three_digits(x), text);
        }
    }

    #[test]
    fn a_cause_that_its_message_repeats_is_said_once() {
        let cause = anyhow::anyhow!("no space left")
            .context("x.tersor: no space left")
            .context("cannot write");
        assert_eq!(chain(&cause), "cannot write: x.tersor: no space left");
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(printable("größe"), "größe");
    }
}
