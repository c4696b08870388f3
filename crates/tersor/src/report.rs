//! What was done, in numbers: for people and as JSON.

use crate::design::{Designer, Knob};
use crate::plan::{SensitivitySource, Treatment};
use crate::search::Found;
use serde::Serialize;
use tersor_codec::{Codebook, TensorInfo};

/// One tensor of a report.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TensorReport {
    /// Name.
    pub name: String,
    /// Element type.
    pub dtype: String,
    /// Shape.
    pub shape: Vec<u64>,
    /// `quantized`, `raw`, `alias` or `constant`.
    pub stored: &'static str,
    /// Why a tensor is stored losslessly, or what it is an alias of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Levels that occur.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub levels: Option<usize>,
    /// Step, on a grid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f32>,
    /// Order-0 entropy of the symbols in bits per element; tables not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy_bpw: Option<f64>,
    /// Predicted loss increase: sum of h d^2 / 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Sum of d^2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub squared_error: Option<f64>,
    /// Squared error over the energy of the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
}

/// The outcome of a compression.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CompressReport {
    /// Method.
    pub method: &'static str,
    /// Scope.
    pub scope: &'static str,
    /// Coder.
    pub coder: &'static str,
    /// Bytes of the checkpoint's tensors as stored.
    pub input_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// `input_bytes / file_bytes`.
    pub ratio: f64,
    /// Four bytes times the trainable parameters, over the bytes of the file: the ratio of the paper.
    pub ratio_paper: f64,
    /// Trainable parameters: elements of floating-point tensors, shared ones once, without running statistics.
    pub n_parameters: u64,
    /// Bits of the file per element of the floating-point tensors, shared ones once.
    pub bpw: f64,
    /// Predicted loss per bit in effect.
    pub slope: f64,
    /// Levels asked for, for clustering methods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub levels: Option<usize>,
    /// Predicted loss increase, in the unit of the sensitivity file. Without one only comparable to itself.
    pub predicted_loss: f64,
    /// Whether sensitivities were given, so that `predicted_loss` means what it says.
    pub has_sensitivities: bool,
    /// Sum of squared errors of all tensors.
    pub squared_error: f64,
    /// Squared error over energy, of all tensors of floats without NaN or infinity.
    pub noise: f64,
    /// Files made in the search.
    pub n_trials: usize,
    /// Per tensor.
    pub tensors: Vec<TensorReport>,
    /// What was dropped or changed in reading, and what the user should know.
    pub warnings: Vec<String>,
}

/// Sizes that ratios refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputSize {
    /// Bytes of the tensors as stored.
    pub bytes: u64,
    /// Elements of floating-point tensors, shared ones once.
    pub n_float: u64,
    /// Those of them that are trained: without running statistics.
    pub n_parameters: u64,
}

/// Whether a tensor is a buffer that training does not touch by gradients.
fn is_buffer(name: &str) -> bool {
    ["running_mean", "running_var", "num_batches_tracked", "inv_freq"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// What a tensor has in common with an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Nothing.
    Own,
    /// Its bytes, stored for both.
    Equal,
    /// Its storage: the bytes are in the checkpoint once.
    Tied,
}

impl InputSize {
    /// Counts tensors: bytes as stored, elements once.
    pub fn of<'t>(tensors: impl Iterator<Item = (&'t TensorInfo, Sharing)>) -> Self {
        let mut size = Self {
            bytes: 0,
            n_float: 0,
            n_parameters: 0,
        };
        for (info, sharing) in tensors {
            if sharing != Sharing::Tied {
                size.bytes += info.size_bytes().unwrap_or(0);
            }
            if sharing == Sharing::Own && info.dtype.is_float() {
                let n = info.n_elements().unwrap_or(0);
                size.n_float += n;
                size.n_parameters += if is_buffer(&info.name) { 0 } else { n };
            }
        }
        size
    }

    pub(crate) fn of_designer(designer: &Designer<'_>) -> Self {
        let sharing = |i: usize| match designer.plan.tensors.get(i).map(|p| &p.treatment) {
            Some(Treatment::Alias(_)) if designer.checkpoint.alias_of(i).is_some() => Sharing::Tied,
            Some(Treatment::Alias(_)) => Sharing::Equal,
            _ => Sharing::Own,
        };
        Self::of(
            designer
                .tensors()
                .iter()
                .enumerate()
                .map(|(i, t)| (t, sharing(i))),
        )
    }
}

impl CompressReport {
    pub(crate) fn new(designer: &Designer<'_>, found: &Found) -> Self {
        let size = InputSize::of_designer(designer);
        let file_bytes = found.file.bytes.len() as u64;
        let mut energy = 0.0;
        let mut tensors = Vec::new();
        for (index, info) in designer.tensors().iter().enumerate() {
            let Some(plan) = designer.plan.tensors.get(index) else {
                continue;
            };
            let n = info.n_elements().unwrap_or(0) as f64;
            let coding = found.design.codings.get(index).and_then(Option::as_ref);
            let report = found.file.reports.get(index).filter(|_| coding.is_some());
            let step = coding.and_then(|c| match found.design.codebooks.get(c.codebook) {
                Some(Codebook::Grid { step, .. }) => Some(*step),
                _ => None,
            });
            if plan.mean_square.is_finite()
                && info.dtype.is_float()
                && !matches!(plan.treatment, Treatment::Alias(_))
            {
                energy += n * plan.mean_square;
            }
            let (stored, reason) = match &plan.treatment {
                Treatment::Raw(reason) => ("raw", Some(reason.to_string())),
                Treatment::Alias(target) => (
                    "alias",
                    designer
                        .tensors()
                        .get(*target)
                        .map(|t| format!("equal to {:?}", t.name)),
                ),
                Treatment::Constant(_) => ("constant", None),
                Treatment::Fine | Treatment::Main => ("quantized", None),
            };
            tensors.push(TensorReport {
                name: info.name.clone(),
                dtype: info.dtype.name().into(),
                shape: info.shape.clone(),
                stored,
                reason,
                levels: report.map(|r| r.levels_in_use),
                step,
                entropy_bpw: report.map(tersor_quant::Report::rate_bpw),
                loss: report.map(|r| r.distortion),
                squared_error: report.map(|r| r.squared_error),
                noise: report.map(|r| r.squared_error / (n * plan.mean_square).max(f64::MIN_POSITIVE)),
            });
        }
        let squared_error: f64 = found.file.reports.iter().map(|r| r.squared_error).sum();
        let mut warnings = designer.checkpoint.notes().to_vec();
        warnings.extend(designer.plan.warnings.iter().cloned());
        let finite =
            |t: &&TensorReport| t.stored == "raw" && t.reason.as_ref().is_some_and(|r| r.contains("NaN"));
        for tensor in tensors.iter().filter(finite) {
            let reason = tensor.reason.as_deref().unwrap_or_default();
            warnings.push(format!("tensor {:?} is stored losslessly: {reason}", tensor.name));
        }
        let has_sensitivities = designer
            .plan
            .tensors
            .iter()
            .any(|p| p.sensitivity == SensitivitySource::File);
        Self {
            method: designer.options.method.name(),
            scope: designer.options.scope.name(),
            coder: found.file.coder.name(),
            input_bytes: size.bytes,
            file_bytes,
            ratio: size.bytes as f64 / file_bytes as f64,
            ratio_paper: 4.0 * size.n_parameters as f64 / file_bytes as f64,
            n_parameters: size.n_parameters,
            bpw: 8.0 * file_bytes as f64 / size.n_float.max(1) as f64,
            slope: found.design.slope,
            levels: if let Knob::Levels(k) = found.knob {
                Some(k)
            } else {
                None
            },
            predicted_loss: found.file.loss(),
            has_sensitivities,
            squared_error,
            noise: squared_error / energy.max(f64::MIN_POSITIVE),
            n_trials: found.n_trials,
            tensors,
            warnings,
        }
    }
}
