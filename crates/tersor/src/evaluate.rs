//! The smallest file of a measured quality.

use crate::checkpoint::OutputFormat;
use crate::compress::{Compressed, Compressor};
use crate::decompress::{Destination, decompress};
use crate::options::Target;
use crate::progress::{Progress, Silent};
use crate::search::MAX_CLUSTERS;
use crate::temporary::Temporary;
use crate::{Error, Result};
use serde::Serialize;
use std::path::Path;
use std::process::{Command, Stdio};
use tersor_codec::{FileReader, Limits};

/// A command that measures quality, and how much is wanted.
#[derive(Clone, Debug)]
pub struct EvaluateOptions {
    /// Run by the shell with `{}` replaced by the path of a decoded checkpoint. The last line it prints on standard
    /// output is the quality, a number; more is better.
    pub command: String,
    /// Least quality.
    pub at_least: f64,
    /// Most runs of the command.
    pub max_evals: usize,
}

/// One run of the command.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Evaluation {
    /// Slope, or number of levels of a clustering.
    pub slope: f64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// What the command printed.
    pub quality: f64,
}

/// First operating point: 50 dB of noise below the weights; each further one has 10 times the noise until quality fails.
const FIRST_NOISE: f64 = 1e-5;
const FACTOR: f64 = 10.0;
/// Operating points closer than this are not told apart.
const CLOSEST: f64 = 1.02;

/// Measures a decoded checkpoint.
fn measure(file: &[u8], folder: &Path, command: &str) -> Result<f64> {
    let reader = FileReader::new(file, Limits::NONE)?;
    let directory = reader.directory();
    let single = directory.blobs.is_empty() && directory.shards.iter().all(|s| s.file_name.is_empty());
    let path = folder.join(if single {
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
    let quoted = format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    let shell = if cfg!(windows) {
        ("cmd", "/C")
    } else {
        ("sh", "-c")
    };
    let output = Command::new(shell.0)
        .args([shell.1, &command.replace("{}", &quoted)])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| Error::Evaluate(format!("{command:?} could not be started: {e}")))?;
    if !output.status.success() {
        return Err(Error::Evaluate(format!(
            "{command:?} ended with {}",
            output.status
        )));
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let last = printed
        .lines()
        .rfind(|l| !l.trim().is_empty())
        .unwrap_or("")
        .trim();
    let quality: f64 = last
        .parse()
        .map_err(|_| Error::Evaluate(format!("{command:?} printed {last:?} last; it must be a number")))?;
    if quality.is_nan() {
        return Err(Error::Evaluate(format!("{command:?} printed NaN")));
    }
    Ok(quality)
}

/// Searches for the smallest file whose measured quality is at least what is asked for: coarser in steps of ten in noise until
/// quality fails, then halving in between. Every run is returned in order.
///
/// # Errors
/// [`Error::Evaluate`] if the command fails or prints no number, [`Error::Target`] if no file reached the quality.
pub fn compress_to_quality(
    compressor: &Compressor<'_>,
    options: &EvaluateOptions,
    progress: &dyn Progress,
) -> Result<(Compressed, Vec<Evaluation>)> {
    if !options.command.contains("{}") {
        let what = format!(
            "the command {:?} has no {{}}: the place of the checkpoint's path",
            options.command
        );
        return Err(Error::Options(what));
    }
    let folder = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
    let _temporary = Temporary::new(folder.path());
    let clustering = compressor.options().method.is_clustering();
    // Position on the curve: the logarithm of the slope, or of the inverse of the number of levels.
    let target = |x: f64| {
        if clustering {
            Target::Levels((-x).exp().round().clamp(2.0, MAX_CLUSTERS as f64) as usize)
        } else {
            Target::Slope(x.exp())
        }
    };
    let first = if clustering {
        -(256f64.ln())
    } else {
        compressor.slope_for_noise(FIRST_NOISE).ln()
    };
    let stride = if clustering { 2f64.ln() } else { FACTOR.ln() };
    let mut evaluations: Vec<Evaluation> = Vec::new();
    let mut best: Option<Compressed> = None;
    // Coarsest that reached the quality, finest that did not.
    let (mut good, mut bad): (Option<f64>, Option<f64>) = (None, None);
    let mut last = Vec::new();
    progress.start("evaluate", options.max_evals as u64);
    while evaluations.len() < options.max_evals {
        let x = match (good, bad) {
            (None, None) => first,
            (Some(good), None) => good + stride,
            (None, Some(bad)) => bad - stride,
            (Some(good), Some(bad)) if bad - good < CLOSEST.ln() => break,
            (Some(good), Some(bad)) => f64::midpoint(good, bad),
        };
        let compressed = compressor.compress(&target(x), &Silent)?;
        if (good.is_none() || bad.is_none()) && compressed.bytes == last {
            // The end of the curve: nothing coarser, or finer, is left to be measured.
            break;
        }
        let file_bytes = compressed.bytes.len() as u64;
        let quality = measure(&compressed.bytes, folder.path(), &options.command)?;
        progress.note(&format!("{file_bytes} bytes: {quality}"));
        progress.advance(1);
        evaluations.push(Evaluation {
            slope: if clustering { (-x).exp().round() } else { x.exp() },
            file_bytes,
            quality,
        });
        last.clone_from(&compressed.bytes);
        if quality >= options.at_least {
            good = Some(x);
            if best
                .as_ref()
                .is_none_or(|b| compressed.bytes.len() < b.bytes.len())
            {
                best = Some(compressed);
            }
        } else {
            bad = Some(x);
        }
    }
    progress.finish();
    let Some(best) = best else {
        let most = evaluations
            .iter()
            .map(|e| e.quality)
            .fold(f64::NEG_INFINITY, f64::max);
        let what = format!(
            "no file reached {} in {} evaluations: the best had {most}; measure the original with the same command, or allow \
             more evaluations",
            options.at_least,
            evaluations.len()
        );
        return Err(Error::Target(what));
    };
    Ok((best, evaluations))
}
