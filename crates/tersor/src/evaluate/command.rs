//! Running the user's command on a decoded checkpoint.

use crate::checkpoint::OutputFormat;
use crate::decompress::{Destination, decompress, is_single_file};
use crate::progress::Silent;
use crate::{Error, Result};
use std::path::Path;
use std::process::{Command, Stdio};
use tersor_codec::{FileReader, Limits};

/// Where the path goes in a command.
pub(super) const PLACE: &str = "{}";

/// Decodes a file into a folder and measures it.
pub(super) fn measure(file: &[u8], folder: &Path, command: &str) -> Result<f64> {
    let reader = FileReader::new(file, Limits::NONE)?;
    let path = folder.join(if is_single_file(reader.directory()) {
        "checkpoint.safetensors"
    } else {
        "checkpoint"
    });
    let destination = Destination::Path {
        path: &path,
        format: OutputFormat::Safetensors,
        overwrite: true,
    };
    decompress(&reader, &destination, &Silent)?;
    let output = shell(&substitute(command, &path.display().to_string()))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| Error::Evaluate(format!("{command:?} could not be started: {e}")))?;
    if !output.status.success() {
        let what = format!("{command:?} ended with {}", output.status);
        return Err(Error::Evaluate(what));
    }
    last_number(&output.stdout).map_err(|what| Error::Evaluate(format!("{command:?} {what}")))
}

fn last_number(printed: &[u8]) -> std::result::Result<f64, String> {
    let printed = String::from_utf8_lossy(printed);
    let last = printed.lines().map(str::trim).rfind(|line| !line.is_empty());
    let last = last.unwrap_or_default();
    let quality: f64 = last
        .parse()
        .map_err(|_| format!("printed {last:?} last; it must be a number"))?;
    if quality.is_nan() {
        return Err("printed NaN".into());
    }
    Ok(quality)
}

/// The command with the path in its place. A path without characters that a shell would take for its own goes in as it is, so
/// that it is right in any quotes; others are quoted, in place of quotes that the command may have around the place.
fn substitute(command: &str, path: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/\\._-:~".contains(c);
    // Windows takes a backslash for a separator, other shells for an escape.
    let is_plain = |c: char| is_plain(c) && (cfg!(windows) || c != '\\');
    if path.chars().all(is_plain) {
        return command.replace(PLACE, path);
    }
    let quoted = if cfg!(windows) {
        format!("\"{path}\"")
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    };
    command
        .replace("'{}'", PLACE)
        .replace("\"{}\"", PLACE)
        .replace(PLACE, &quoted)
}

#[cfg(not(windows))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    shell
}

/// With `/S`, `cmd` takes off the outer quotes and leaves all that is between them alone.
#[cfg(windows)]
fn shell(command: &str) -> Command {
    use std::os::windows::process::CommandExt as _;
    let mut shell = Command::new("cmd");
    shell.raw_arg(format!("/D /S /C \"{command}\""));
    shell
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_path_reaches_the_command_whole_in_any_quotes() {
        for path in [
            "/tmp/plain-1.x",
            "/tmp/two words",
            "/tmp/it's",
            "/tmp/$HOME `x` \"y\"",
        ] {
            for command in ["printf %s {}", "printf %s '{}'", "printf %s \"{}\""] {
                let output = shell(&substitute(command, path)).output().unwrap();
                assert_eq!(String::from_utf8_lossy(&output.stdout), path, "{command}");
            }
        }
        assert_eq!(
            substitute("run --net={} \"--out={}.log\"", "/tmp/a"),
            "run --net=/tmp/a \"--out=/tmp/a.log\""
        );
    }
}
