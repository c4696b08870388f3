//! `tersor verify`: whether a file is whole, and how far it is from its original.

use crate::Status;
use crate::args::{Common, VerifyArgs};
use crate::files;
use crate::output::{self, Align, Table};
use crate::progress::Bar;
use serde::Serialize;
use std::fmt::Write as _;
use tersor::codec::{self, FileReader, Limits};
use tersor::verify::{CompareReport, compare, verify};

/// What `--json` prints.
#[derive(Serialize)]
struct Verdict {
    file: String,
    /// Whether every checksum is right and the layout is that of the original, if one was given.
    ok: bool,
    file_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<CompareReport>,
}

/// Whether an error says that the bytes are not those that were written, rather than that they could not be judged.
fn is_damage(error: &tersor::Error) -> bool {
    use codec::Error::{Checksum, Corrupt, NotTersor, Truncated};
    matches!(
        error,
        tersor::Error::Codec(NotTersor { .. } | Truncated { .. } | Checksum { .. } | Corrupt { .. })
    )
}

/// Checks a file.
pub(crate) fn run(args: &VerifyArgs, common: &Common) -> anyhow::Result<Status> {
    let bytes = files::read(&args.input)?;
    let limits = Limits::default().with_max_decoded_bytes(args.limit.max_size);
    let bar = Bar::new(common.quiet);
    let checked = FileReader::new(&bytes, limits)
        .map_err(tersor::Error::from)
        .and_then(|reader| verify(&reader, &bar).map(|()| reader));
    let mut verdict = Verdict {
        file: files::label(&args.input),
        ok: true,
        file_bytes: bytes.len() as u64,
        digest: None,
        damage: None,
        comparison: None,
    };
    match checked {
        Ok(reader) => {
            verdict.digest = Some(format!("{:016x}", reader.digest()));
            if let Some(path) = &args.against {
                let original = files::open_checkpoint(path)?;
                let report = compare(&reader, &original, &bar)?;
                verdict.ok = report.same_layout && report.differing.is_empty();
                verdict.comparison = Some(report);
            }
        }
        Err(error) if is_damage(&error) => {
            verdict.ok = false;
            verdict.damage = Some(error.to_string());
        }
        Err(error) => return Err(anyhow::Error::from(error).context(verdict.file)),
    }
    drop(bar);
    if args.json {
        output::json(&verdict)?;
    } else if !common.quiet {
        output::out(&describe(&verdict)?)?;
    }
    Ok(if verdict.ok {
        Status::Done
    } else {
        Status::Negative
    })
}

fn describe(verdict: &Verdict) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    if let Some(report) = &verdict.comparison {
        let mut table = Table::new(&[
            ("tensor", Align::Left),
            ("max abs", Align::Right),
            ("rms", Align::Right),
            ("noise", Align::Right),
            ("", Align::Left),
        ]);
        for tensor in &report.tensors {
            table.row([
                output::printable(&tensor.name),
                output::three_digits(tensor.max_abs),
                output::three_digits(tensor.rms),
                output::decibels(tensor.noise),
                if tensor.identical {
                    "identical".into()
                } else {
                    String::new()
                },
            ]);
        }
        writeln!(text, "{table}")?;
    }
    let file = &verdict.file;
    match (&verdict.damage, &verdict.digest) {
        (Some(damage), _) => writeln!(text, "{file}: damaged: {damage}")?,
        (None, digest) => writeln!(
            text,
            "{file}: whole: {} bytes, every checksum is right, digest {}",
            output::thousands(verdict.file_bytes),
            digest.as_deref().unwrap_or_default()
        )?,
    }
    if let Some(report) = &verdict.comparison {
        let lists = [
            ("lacks", &report.missing),
            ("has no such tensor in the original:", &report.unexpected),
            ("differs in type or shape:", &report.misshapen),
            ("differs in what is stored losslessly:", &report.differing),
        ];
        for (what, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
            let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            writeln!(text, "{file}: {what} {}", names.join(", "))?;
        }
        let n_identical = report.tensors.iter().filter(|tensor| tensor.identical).count();
        writeln!(
            text,
            "{file}: {n_identical} of {} tensors identical, squared error {}, noise {}",
            report.tensors.len(),
            output::three_digits(report.squared_error),
            output::decibels(report.noise)
        )?;
    }
    Ok(text)
}
