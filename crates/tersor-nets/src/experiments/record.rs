//! Files of an experiment with what was measured of them: written beside the files, and checked against them.

use super::methods::read;
use super::speed::Speed;
use crate::evaluate::{Comparison, EvaluateOptions, Evaluation, Scores, evaluate};
use crate::examples::Examples;
use crate::graph::{Input, Network};
use crate::shared::to_parameters;
use crate::{Error, Parameters, Result, Selection, Subset, digest};
use burn::tensor::Device;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tersor::Progress;

/// What records belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Name of the network.
    pub network: String,
    /// Digest of the weights that files are made from, if they are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Numbers and digests of what is trained or calibrated on, and of what is measured on.
    pub data: [String; 2],
}

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The file, beside the records.
    pub file: PathBuf,
    /// How it was made.
    pub how: String,
    /// Its settings.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub settings: String,
    /// Of training, where there was any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Bytes of the whole file.
    pub bytes: u64,
    /// Four bytes per trainable parameter over the bytes of the file.
    pub ratio: f64,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<Speed>,
    /// What the decoded file does, on some examples each.
    pub scores: Vec<Score>,
}

/// What a decoded file does on some examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Which, as a [`Selection`] is written.
    pub examples: String,
    /// The file.
    pub decoded: Evaluation,
    /// What it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Evaluation>,
    /// The two row by row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// The records of an experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Records {
    /// What they belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// In the order in which they were made.
    pub records: Vec<Record>,
}

/// Reads what an experiment wrote.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    serde_json::from_str(&text).map_err(|e| Error::Input(format!("{}: {e}", path.display())))
}

/// Writes what an experiment found.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::Internal(e.to_string()))?;
    Ok(tersor::write_file(path, text.as_bytes(), true)?)
}

/// Name of the records in the folder of an experiment.
const RECORDS: &str = "records.json";

impl Records {
    /// Those in a folder; none if there is no such file.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Input`] if the file cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(RECORDS);
        if !path.is_file() {
            return Ok(Self::default());
        }
        Self::read(&path)
    }

    /// Those in a file.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Input`] if the file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        read_json(path)
    }

    /// Writes them to a folder.
    ///
    /// # Errors
    /// As [`tersor::write_file`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        write_json(&folder.join(RECORDS), self)
    }

    /// Makes a folder's records belong to an origin.
    ///
    /// # Errors
    /// [`Error::Input`] if they belong to another.
    pub(super) fn claim(&mut self, origin: Origin, folder: &Path) -> Result<()> {
        if self.origin.as_ref().is_some_and(|own| *own != origin) {
            return Err(Error::Input(format!(
                "{} belongs to another network, other weights or other data; give another folder",
                folder.display()
            )));
        }
        self.origin = Some(origin);
        self.save(folder)
    }

    /// The record of a file.
    pub fn of(&self, file: &Path) -> Option<&Record> {
        self.records.iter().find(|r| r.file == file)
    }
}

/// What files are measured with.
pub(super) struct Ruler<'a> {
    pub(super) network: &'a Network,
    pub(super) test: &'a dyn Examples,
    pub(super) device: &'a Device,
    pub(super) progress: &'a dyn Progress,
}

/// Logits of an original on all examples that are measured.
pub(super) struct Reference(Scores);

impl Ruler<'_> {
    /// The examples that any of some selections means.
    fn union(&self, selections: &[Selection]) -> Result<Subset<'_>> {
        if selections.len() > 1 && matches!(self.network.input, Input::Tokens { .. }) {
            return Err(Error::Internal(
                "texts are measured on one selection at a time".into(),
            ));
        }
        let is_meant = |i: &usize| selections.iter().any(|s| s.contains(*i));
        let indices: Vec<usize> = (0..self.test.len()).filter(is_meant).collect();
        if indices.is_empty() {
            return Err(Error::Input(format!(
                "none of the {} examples is selected",
                self.test.len()
            )));
        }
        Ok(Subset {
            examples: self.test,
            indices,
        })
    }

    /// Scores of an original, to compare with.
    pub(super) fn reference(&self, original: &Parameters, selections: &[&str]) -> Result<Reference> {
        let options = EvaluateOptions {
            keep_logits: true,
            ..EvaluateOptions::default()
        };
        let examples = self.union(&parse(selections)?)?;
        self.evaluate(original, &examples, &options).map(Reference)
    }

    fn evaluate(
        &self,
        parameters: &Parameters,
        examples: &Subset<'_>,
        options: &EvaluateOptions<'_>,
    ) -> Result<Scores> {
        evaluate(
            self.network,
            parameters,
            examples,
            self.device,
            options,
            self.progress,
        )
    }

    /// Decodes a file and measures it on each of the selections: its bytes and scores.
    pub(super) fn measure(
        &self,
        path: &Path,
        selections: &[&str],
        reference: Option<&Reference>,
    ) -> Result<(u64, Vec<Score>)> {
        let (quantized, bytes) = read(path)?;
        let parameters = to_parameters(self.network, &quantized)?;
        let parsed = parse(selections)?;
        let examples = self.union(&parsed)?;
        let options = EvaluateOptions {
            reference: reference.map(|r| &r.0),
            ..EvaluateOptions::default()
        };
        let decoded = self.evaluate(&parameters, &examples, &options)?;
        if !decoded.summary().loss.is_finite() {
            let file = path.display();
            return Err(Error::Input(format!(
                "{file}: the loss of what it holds is not finite"
            )));
        }
        let score = |(text, selection): (&&str, &Selection)| {
            // A row for each image; texts have one selection, which means all rows.
            let part = |scores: &Scores| match parsed.len() {
                1 => scores.clone(),
                _ => scores.filtered(|row| examples.indices.get(row).is_some_and(|&i| selection.contains(i))),
            };
            let (decoded, original) = (part(&decoded), reference.map(|r| part(&r.0)));
            Ok(Score {
                examples: (*text).to_owned(),
                comparison: original.as_ref().map(|o| o.compare(&decoded)).transpose()?,
                original: original.map(|o| o.summary()),
                decoded: decoded.summary(),
            })
        };
        let scores = selections.iter().zip(&parsed).map(score).collect::<Result<_>>()?;
        Ok((bytes, scores))
    }
}

fn parse(selections: &[&str]) -> Result<Vec<Selection>> {
    selections.iter().map(|s| s.parse()).collect()
}

/// What decoding and scoring a file again gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// The file.
    pub file: PathBuf,
    /// Bytes in the records and now.
    pub bytes: [u64; 2],
    /// Accuracy in the records and now.
    pub accuracy: [f64; 2],
    /// Loss in the records and now, nats.
    pub loss: [f64; 2],
    /// Divergence from what the file was made from in the records and now, nats, if that is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergence: Option<[f64; 2]>,
    /// Whether bytes agree, right answers up to two or 2 in 10,000, and loss and divergence up to a thousandth: sums of floats differ
    /// between machines.
    pub is_same: bool,
}

/// How many answers may change between machines, at least and of all, and how much a loss.
const ANSWERS: f64 = 2.0;
const OF_ALL: f64 = 2e-4;
const OF_LOSS: f64 = 1e-3;
/// Below this a divergence is rounding, in nats.
const LEAST_DIVERGENCE: f64 = 1e-6;

impl Checked {
    /// Bytes, accuracies and losses in the records and now, on so many rows.
    pub(super) fn new(file: &Path, bytes: [u64; 2], accuracy: [f64; 2], loss: [f64; 2], n: usize) -> Self {
        let change = |[then, now]: [f64; 2]| (then - now).abs();
        let answers = change(accuracy) * n as f64 <= ANSWERS.max(OF_ALL * n as f64) + 1e-6;
        Self {
            file: file.to_owned(),
            bytes,
            accuracy,
            loss,
            divergence: None,
            is_same: bytes[0] == bytes[1] && answers && change(loss) <= OF_LOSS * loss[0].abs(),
        }
    }

    /// With the divergences of comparisons in the records and now, if both have one.
    pub(super) fn compared(mut self, comparisons: [Option<Comparison>; 2]) -> Self {
        let [then, now] = comparisons.map(|c| c?.divergence);
        self.divergence = then.zip(now).map(|(then, now)| [then, now]);
        if let Some([then, now]) = self.divergence {
            self.is_same &= (then - now).abs() <= OF_LOSS * then.abs() + LEAST_DIVERGENCE;
        }
        self
    }
}

/// Decodes and scores the files behind the records of a folder again: one row for each score; with what they were made from, divergences
/// too.
pub(super) fn check(ruler: &Ruler<'_>, folder: &Path, original: Option<&Parameters>) -> Result<Vec<Checked>> {
    let Records { origin, records } = Records::open(folder)?;
    if records.is_empty() {
        return Err(Error::Input(format!("{} holds no {RECORDS}", folder.display())));
    }
    if let Some(original) = original
        && origin.and_then(|o| o.weights) != Some(digest::of_parameters(original))
    {
        return Err(Error::Input(format!(
            "the files in {} are not known to be made from these weights; without --weights their divergence is left out",
            folder.display()
        )));
    }
    let mut checked = Vec::new();
    // Of the selections of the record before: nearly always those of all.
    let mut reference: Option<(Vec<&str>, Reference)> = None;
    for record in &records {
        let selections: Vec<&str> = record.scores.iter().map(|s| s.examples.as_str()).collect();
        if let Some(original) = original
            && reference.as_ref().is_none_or(|(of, _)| *of != selections)
        {
            reference = Some((selections.clone(), ruler.reference(original, &selections)?));
        }
        let path = folder.join(&record.file);
        let (bytes, scores) = ruler.measure(&path, &selections, reference.as_ref().map(|(_, r)| r))?;
        for (then, now) in record.scores.iter().zip(&scores) {
            let comparisons = [then.comparison, now.comparison];
            let (then, now) = (then.decoded, now.decoded);
            let (accuracy, loss) = ([then.accuracy, now.accuracy], [then.loss, now.loss]);
            let row = Checked::new(&record.file, [record.bytes, bytes], accuracy, loss, now.n);
            checked.push(row.compared(comparisons));
        }
    }
    Ok(checked)
}
