//! What a table says, on disk, and whether its files still say so.

use crate::evaluate::{Comparison, EvaluateOptions, Scores, evaluate};
use crate::experiments::methods::{MethodRow, read};
use crate::experiments::record::{Checked, read_json};
use crate::graph::Network;
use crate::shared::to_parameters;
use crate::task::{DataOptions, open_data};
use crate::{Error, Parameters, Result};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tersor::Progress;

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table1Row {
    /// Of training.
    pub seed: u64,
    /// The file after fine-tuning, beside the report.
    pub file: PathBuf,
    /// The paper's ratio for this quantizer.
    pub paper_ratio: f64,
    /// Measured on the test set.
    pub result: MethodRow,
    /// The fine-tuned file against the dense network, image by image of the test set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// Accuracy of the fine-tuned file on the examples that settings are chosen on.
    pub held_out_accuracy: f64,
    /// Loss of the fine-tuned file on them, nats.
    pub held_out_loss: f64,
}

/// A network before quantization.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table1Network {
    /// Of training.
    pub seed: u64,
    /// Test accuracy of the dense network.
    pub dense_accuracy: f64,
    /// Test accuracy of the pruned one.
    pub pruned_accuracy: f64,
    /// Test loss of the pruned one, nats.
    pub pruned_loss: f64,
    /// The pruned one against the dense one, image by image of the test set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// Ratio of the pruned one, its survivors as f32.
    pub pruned_ratio: f64,
    /// Parameters that survive.
    pub n_survivors: usize,
}

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table1Report {
    /// Passes: dense, while pruning, on the pruned net, and of fine-tuning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<[usize; 4]>,
    /// One for each seed.
    pub networks: Vec<Table1Network>,
    /// One for each seed and quantizer.
    pub rows: Vec<Table1Row>,
}

/// Name of the report in the folder.
pub(super) fn report_name(network: &Network) -> String {
    format!("table1-{}.json", network.name)
}

pub(super) fn read_report(network: &Network, folder: &Path) -> Result<Option<Table1Report>> {
    let path = folder.join(report_name(network));
    if !path.is_file() {
        return Ok(None);
    }
    read_json(&path).map(Some)
}

/// Decodes and scores the files behind a table again; with the dense network that it began with, their divergences from that too.
///
/// # Errors
/// [`Error::Input`] if there is no report in the folder; if a file cannot be read or decoded.
pub fn check_table1(
    network: &Network,
    data: &str,
    folder: &Path,
    device: &Device,
    original: Option<&Parameters>,
    progress: &dyn Progress,
) -> Result<Vec<Checked>> {
    let data = open_data(network, data, &DataOptions::default())?;
    let report = read_report(network, folder)?
        .ok_or_else(|| Error::Input(format!("{} holds no {}", folder.display(), report_name(network))))?;
    let score = |parameters: &Parameters, reference: Option<&Scores>| {
        let options = EvaluateOptions {
            keep_logits: original.is_some() && reference.is_none(),
            reference,
            ..EvaluateOptions::default()
        };
        let test = data.test.as_ref();
        evaluate(network, parameters, test, device, &options, progress)
    };
    let reference = original.map(|o| score(o, None)).transpose()?;
    let check = |row: &Table1Row| {
        let (quantized, bytes) = read(&folder.join(&row.file))?;
        let scores = score(&to_parameters(network, &quantized)?, reference.as_ref())?;
        let (then, now) = (row.result.after, scores.summary());
        let (accuracy, loss) = ([then.accuracy, now.accuracy], [then.loss, now.loss]);
        let checked = Checked::new(&row.file, [then.bytes, bytes], accuracy, loss, now.n);
        let now = reference.as_ref().map(|r| r.compare(&scores)).transpose()?;
        Ok(checked.compared([row.comparison, now]))
    };
    report.rows.iter().map(check).collect()
}
