//! The paper's quantizers on a trained network, through real files.

use crate::evaluate::{EvaluateOptions, evaluate};
use crate::examples::Examples;
use crate::graph::Network;
use crate::shared::{FinetuneOptions, finetune, to_parameters};
use crate::train::Teacher;
use crate::{Error, Parameters, Result};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tersor::checkpoint::Checkpoint;
use tersor::options::{Centres, CompressOptions, Method, Scope, Target};
use tersor::{Progress, compress, write_file};
use tersor_codec::{Coder, EncodeOptions, Limits, QuantizedCheckpoint};

/// The four quantizers of the paper's Table 1, one codebook for all layers each.
pub const PAPER_METHODS: [Method; 4] = [
    Method::KMeans,
    Method::HessianKMeans,
    Method::Uniform,
    Method::Ecsq,
];

/// A file and what its decoded network does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Bytes of the whole file.
    pub bytes: u64,
    /// Four bytes per trainable parameter over the bytes of the file.
    pub ratio: f64,
    /// Share of the test set that is right.
    pub accuracy: f64,
    /// Its standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_error: Option<f64>,
    /// Mean cross-entropy on the test set, nats.
    pub loss: f64,
}

/// One quantizer before and after fine-tuning of its shared values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodRow {
    /// The quantizer.
    pub method: String,
    /// The coder.
    pub coder: String,
    /// As quantized.
    pub before: Measured,
    /// After fine-tuning.
    pub after: Measured,
}

/// Everything that rows have in common.
pub(super) struct Bench<'a> {
    pub(super) network: &'a Network,
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) sensitivity: &'a Path,
    pub(super) train: &'a dyn Examples,
    pub(super) teacher: Option<&'a Teacher>,
    pub(super) test: &'a dyn Examples,
    pub(super) device: &'a Device,
    pub(super) finetune: FinetuneOptions,
    pub(super) progress: &'a dyn Progress,
}

impl Bench<'_> {
    /// Accuracy and loss of a network on the test set, and the size it would have.
    pub(super) fn measure(&self, parameters: &Parameters, bytes: u64) -> Result<Measured> {
        let options = EvaluateOptions::default();
        let scores = evaluate(
            self.network,
            parameters,
            self.test,
            self.device,
            &options,
            self.progress,
        )?;
        let summary = scores.summary();
        Ok(Measured {
            bytes,
            ratio: self.network.ratio(bytes),
            accuracy: summary.accuracy,
            accuracy_error: Some(summary.accuracy_error),
            loss: summary.loss,
        })
    }

    /// Decodes a file from disk and measures it.
    pub(super) fn measure_file(&self, path: &Path) -> Result<(Measured, QuantizedCheckpoint)> {
        let (quantized, bytes) = read(path)?;
        let parameters = to_parameters(self.network, &quantized)?;
        Ok((self.measure(&parameters, bytes)?, quantized))
    }

    /// Compresses with a method to `bytes`, writes the file, decodes and measures it; then fine-tunes the shared values,
    /// writes the file again, decodes and measures that.
    pub(super) fn row(
        &self,
        method: Method,
        scope: Scope,
        coder: Coder,
        bytes: u64,
        path: &Path,
    ) -> Result<MethodRow> {
        let mut options = CompressOptions::default()
            .with_method(method)
            .with_scope(scope)
            .with_coder(Some(coder))
            .with_sensitivity(self.sensitivity)
            .with_target(Target::SizeBytes(bytes));
        // The paper's centres: means of cells, which fine-tuning then moves one by one.
        options.centres = Centres::Mean;
        let compressed = compress(self.checkpoint, options, self.progress)?;
        write_file(path, &compressed.bytes, true)?;
        let (before, mut quantized) = self.measure_file(path)?;
        finetune(
            self.network,
            &mut quantized,
            self.train,
            self.teacher,
            self.device,
            &self.finetune,
            self.progress,
        )?;
        let bytes = quantized.encode(EncodeOptions::default().with_coder(coder))?;
        write_file(path, &bytes, true)?;
        let (after, _) = self.measure_file(path)?;
        Ok(MethodRow {
            method: method.name().to_owned(),
            coder: coder.to_string(),
            before,
            after,
        })
    }
}

/// Symbols of a file, and its size in bytes.
pub(super) fn read(path: &Path) -> Result<(QuantizedCheckpoint, u64)> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let quantized = QuantizedCheckpoint::decode(&bytes, Limits::default())?;
    Ok((quantized, bytes.len() as u64))
}

/// Bytes of a file that holds a checkpoint losslessly.
pub(super) fn lossless_bytes(checkpoint: &Checkpoint) -> Result<u64> {
    let mut options = CompressOptions::default();
    options.keep.push(tersor::options::parse_glob("*")?);
    let compressed = compress(checkpoint, options, &tersor::Silent)?;
    Ok(compressed.bytes.len() as u64)
}
