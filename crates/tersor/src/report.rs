//! What was done, in numbers: for people and as JSON.

use crate::design::{Assigner, Coding, Designer, Knob};
use crate::plan::{SensitivitySource, TensorPlan, Treatment};
use crate::search::Found;
use crate::size::InputSize;
use serde::Serialize;
use tersor_codec::Codebook;

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
    /// Levels of its codebook, which other tensors may share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub levels: Option<usize>,
    /// Levels that occur in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub levels_used: Option<usize>,
    /// Step, on a grid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f32>,
    /// Order-0 entropy of the symbols in bits per element; tables not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy_bpw: Option<f64>,
    /// Where the sensitivities of a quantized tensor come from: [`SensitivitySource::name`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<&'static str>,
    /// How its symbols were found, if not weight by weight: with `feedback` of errors, `balanced` errors, along a `trellis` alone, or `given`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignment: Option<&'static str>,
    /// Its part of [`CompressReport::weighted_error`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weighted_error: Option<f64>,
    /// Its part of [`CompressReport::predicted_loss`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted_loss: Option<f64>,
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
    /// What the ratios refer to.
    #[serde(flatten)]
    pub size: InputSize,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// [`InputSize::ratio`].
    pub ratio: f64,
    /// [`InputSize::ratio_paper`].
    pub ratio_paper: f64,
    /// [`InputSize::bpw`].
    pub bpw: f64,
    /// Predicted loss per bit in effect.
    pub slope: f64,
    /// Levels of each codebook of a clustering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub levels: Option<usize>,
    /// Step, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f32>,
    /// Sum of h d^2 / 2, with error feedback of s e^T H e / 2 (see `tersor_quant::feedback`): what the search makes small. Only comparable among files of one checkpoint and one sensitivity file.
    pub weighted_error: f64,
    /// The same, which predicts the increase of the loss if h comes from a sensitivity file: in the unit of that file's loss.
    /// None without one.
    pub predicted_loss: Option<f64>,
    /// Quantized tensors that the sensitivity file lacks, and that were given a sensitivity by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without_sensitivities: Vec<String>,
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

fn is_quantized(plan: &TensorPlan) -> bool {
    matches!(plan.treatment, Treatment::Fine | Treatment::Main)
}

/// How the symbols of a tensor were found, if not weight by weight.
fn assignment(designer: &Designer<'_>, index: usize, coding: &Coding) -> Option<&'static str> {
    match coding.assigner {
        Assigner::Symbols(_) if designer.given.has(index) => Some("given"),
        Assigner::Symbols(_) if designer.uses_feedback(index) => Some("feedback"),
        Assigner::Grid(..) | Assigner::Symbols(_) if designer.is_balanced(index) => Some("balanced"),
        Assigner::Symbols(_) => Some("trellis"),
        _ => None,
    }
}

impl CompressReport {
    pub(crate) fn new(designer: &Designer<'_>, found: &Found) -> Self {
        let size = InputSize::of_designer(designer);
        let file_bytes = found.file.bytes.len() as u64;
        let plans = &designer.plan.tensors;
        let has_sensitivities = plans.iter().any(|p| p.sensitivity == SensitivitySource::File);
        let mut energy = 0.0;
        let mut tensors = Vec::new();
        for (index, info) in designer.tensors().iter().enumerate() {
            let Some(plan) = plans.get(index) else {
                continue;
            };
            let n = info.n_elements().unwrap_or(0) as f64;
            let coding = found.design.codings.get(index).and_then(Option::as_ref);
            let report = found.file.reports.get(index).filter(|_| coding.is_some());
            let codebook = coding.and_then(|c| found.design.codebooks.get(c.codebook));
            let step = codebook.and_then(|codebook| match codebook {
                Codebook::Grid { step, .. } => Some(*step),
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
                levels: codebook.map(Codebook::n_levels),
                levels_used: report.map(|r| r.levels_in_use),
                step,
                entropy_bpw: report.map(tersor_quant::Report::rate_bpw),
                sensitivity: is_quantized(plan).then_some(plan.sensitivity.name()),
                assignment: coding.and_then(|coding| assignment(designer, index, coding)),
                weighted_error: report.map(|r| r.distortion),
                predicted_loss: report.map(|r| r.distortion).filter(|_| has_sensitivities),
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
        let is_by_default = |t: &&TensorReport| {
            has_sensitivities && t.sensitivity.is_some_and(|s| s != SensitivitySource::File.name())
        };
        let weighted_error = found.file.loss();
        Self {
            method: designer.options.method.name(),
            scope: designer.options.scope.name(),
            coder: found.file.coder.name(),
            ratio: size.ratio(file_bytes),
            ratio_paper: size.ratio_paper(file_bytes),
            bpw: size.bpw(file_bytes),
            size,
            file_bytes,
            slope: found.design.slope,
            levels: match found.knob {
                Knob::Levels(k) => Some(k),
                _ => None,
            },
            step: match found.knob {
                Knob::Step(step) => Some(step),
                _ => None,
            },
            weighted_error,
            predicted_loss: has_sensitivities.then_some(weighted_error),
            without_sensitivities: tensors
                .iter()
                .filter(is_by_default)
                .map(|tensor| tensor.name.clone())
                .collect(),
            squared_error,
            noise: squared_error / energy.max(f64::MIN_POSITIVE),
            n_trials: found.n_trials,
            tensors,
            warnings,
        }
    }
}
