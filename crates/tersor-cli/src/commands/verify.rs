//! `tersor verify`: whether a file is whole, and how far it is from its original.

use crate::Status;
use crate::args::{Common, VerifyArgs};
use crate::files;
use crate::output;
use crate::progress::Bar;
use crate::table::{Align, TensorTable};
use serde::Serialize;
use std::fmt::Write as _;
use tersor::codec::{self, FileReader, Limits};
use tersor::verify::{CompareReport, Form, compare, verify};
use tersor::{InputSize, inspect};

/// What `--json` prints.
#[derive(Serialize)]
struct Verdict {
    file: String,
    /// Whether every checksum is right and the layout is that of the original, if one was given.
    ok: bool,
    file_bytes: u64,
    #[serde(flatten)]
    contents: Option<Contents>,
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<CompareReport>,
}

/// What a whole file holds.
#[derive(Serialize)]
struct Contents {
    #[serde(flatten)]
    size: InputSize,
    ratio: f64,
    bpw: f64,
    ratio_paper: f64,
    digest: String,
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
    if let Some(path) = &args.against {
        files::check_input(path)?;
    }
    let bytes = files::read(&args.input)?;
    let limits = Limits::default().with_max_decoded_bytes(args.limit.max_size);
    let bar = Bar::new(common.quiet);
    let checked = FileReader::new(&bytes, limits)
        .map_err(tersor::Error::from)
        .and_then(|reader| verify(&reader, &bar).map(|()| reader));
    let file_bytes = bytes.len() as u64;
    let mut verdict = Verdict {
        file: files::label(&args.input),
        ok: true,
        file_bytes,
        contents: None,
        damage: None,
        comparison: None,
    };
    match checked {
        Ok(reader) => {
            let size = inspect::size(reader.directory());
            verdict.contents = Some(Contents {
                size,
                ratio: size.ratio(file_bytes),
                bpw: size.bpw(file_bytes),
                ratio_paper: size.ratio_paper(file_bytes),
                digest: format!("{:016x}", reader.digest()),
            });
            if let Some(path) = &args.against {
                let original = files::open_checkpoint(path)?;
                let report = compare(&reader, &original, &bar)?;
                verdict.ok = report.has_all();
                verdict.comparison = Some(report);
            }
        }
        Err(tersor::Error::Codec(error)) if files::mistaken(&error, &bytes, &args.input).is_some() => {
            return Err(files::mistaken(&error, &bytes, &args.input).unwrap_or_else(|| error.into()));
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
    let file = &verdict.file;
    if let Some(report) = &verdict.comparison {
        writeln!(text, "{}", error_table(report))?;
    }
    match (&verdict.damage, &verdict.contents) {
        (Some(damage), _) => writeln!(text, "{file}: damaged: {damage}")?,
        (None, None) => {}
        (None, Some(found)) => writeln!(
            text,
            "{file}: whole: {} bytes, every checksum is right, digest {}\n{file}: {} ({})",
            output::thousands(verdict.file_bytes),
            found.digest,
            output::ratios(found.ratio, found.bpw, found.ratio_paper),
            output::weights(&found.size),
        )?,
    }
    if let Some(report) = &verdict.comparison {
        for line in differences(report) {
            writeln!(text, "{file}: {line}")?;
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

fn error_table(report: &CompareReport) -> TensorTable {
    let mut table = TensorTable::new(&[
        ("max abs", Align::Right),
        ("rms", Align::Right),
        ("noise", Align::Right),
        ("", Align::Left),
    ]);
    for tensor in &report.tensors {
        let identical = if tensor.identical { "identical" } else { "" };
        table.row(
            &tensor.name,
            tensor.form.dtype,
            &tensor.form.shape,
            [
                output::three_digits(tensor.max_abs),
                output::three_digits(tensor.rms),
                output::decibels(tensor.noise),
                identical.into(),
            ],
        );
    }
    table
}

/// What differs beside the errors of quantized tensors, a line each.
fn differences(report: &CompareReport) -> Vec<String> {
    let mut lines = Vec::new();
    if report.n_renamed > 0 {
        let n = output::count(report.n_renamed, "name");
        lines.push(format!("{n} match but for a leading module."));
    }
    for tensor in &report.misshapen {
        let form = |form: &Form| format!("{} {}", form.dtype, output::shape(&form.shape));
        let (own, original) = (form(&tensor.file), form(&tensor.original));
        lines.push(format!(
            "tensor {:?} is {own}, in the original {original}",
            tensor.name
        ));
    }
    let lists = [
        ("lacks tensors of the original:", &report.missing),
        ("has tensors that the original lacks:", &report.unexpected),
        ("differs in what is stored losslessly:", &report.differing),
        ("lacks metadata of the original:", &report.metadata.missing),
        ("differs in metadata:", &report.metadata.differing),
        (
            "has metadata that the original lacks:",
            &report.metadata.unexpected,
        ),
        ("lacks files of the original:", &report.blobs.missing),
        ("differs in files beside the weights:", &report.blobs.differing),
        ("has files that the original lacks:", &report.blobs.unexpected),
    ];
    for (what, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
        let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        lines.push(format!("{what} {}", names.join(", ")));
    }
    let agreeing = [
        (
            "metadata entry is",
            "metadata entries are",
            report.metadata.n_same,
        ),
        (
            "file beside the weights is",
            "files beside the weights are",
            report.blobs.n_same,
        ),
    ];
    for (one, many, n) in agreeing.into_iter().filter(|(_, _, n)| *n > 0) {
        let what = if n == 1 { one } else { many };
        lines.push(format!("{n} {what} the same"));
    }
    lines
}
