//! What will be done with each tensor, and why: decided before anything is quantized.

use crate::checkpoint::Checkpoint;
use crate::feedback::Given;
use crate::options::{CompressOptions, Rule};
use crate::progress::Progress;
use crate::scales::{RowScales, ScaledRows};
use crate::sensitivity::{Sensitivities, TensorSensitivity};
use crate::{Error, Result, weights};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use tersor_codec::{Dtype, MAX_AXES, TensorInfo, decode_to_f32, encode_f32};
use tersor_quant::Span;
use xxhash_rust::xxh64::xxh64;

/// Magnitudes beyond which a tensor is stored losslessly: its steps would leave the range of f32.
const LARGEST: f32 = 1e30;
/// As [`LARGEST`], for the largest magnitude of a tensor. Subnormal numbers are far below.
const SMALLEST: f32 = 1e-25;

/// Why a tensor is stored losslessly.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Integers, booleans and other types that are not real floats.
    NotFloat,
    /// The user said so.
    Kept,
    /// A single number without a dimension.
    Scalar,
    /// No elements.
    Empty,
    /// Two different elements only, as in a mask: exact at a bit per element at most, or little more.
    TwoValues,
    /// So many elements are NaN or infinite.
    NotFinite(u64),
    /// Its largest magnitude is beyond what steps can be computed for.
    Range,
    /// Its largest magnitude is close to the end of its type: the nearest level may be infinite in it.
    TypeRange(Dtype),
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFloat => f.write_str("not a float type"),
            Self::Kept => f.write_str("kept as asked"),
            Self::Scalar => f.write_str("a single number"),
            Self::Empty => f.write_str("no elements"),
            Self::TwoValues => f.write_str("two different values only"),
            Self::NotFinite(1) => f.write_str("1 element is NaN or infinite"),
            Self::NotFinite(n) => write!(f, "{n} elements are NaN or infinite"),
            Self::TypeRange(dtype) => write!(f, "a magnitude is more than half of the largest of {dtype}"),
            Self::Range => write!(f, "its magnitudes are not between {SMALLEST:e} and {LARGEST:e}"),
        }
    }
}

/// What is done with a tensor.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Treatment {
    /// Stored losslessly.
    Raw(Reason),
    /// Equal to an earlier tensor, which is stored once.
    Alias(usize),
    /// All elements are the same number: stored exactly, in no bits per element.
    Constant(f32),
    /// One dimension, such as biases and normalisation: a fine codebook of its own kind.
    Fine,
    /// Two or more dimensions: the method asked for.
    Main,
}

/// Where a tensor's sensitivities come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SensitivitySource {
    /// The sensitivity file.
    File,
    /// The same for all elements of the tensor: 1 if all weights are to be alike, what suits its size, or what suits the covered tensors.
    Default,
    /// In inverse proportion to the square of each element: equal relative precision.
    Relative,
}

impl SensitivitySource {
    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Default => "equal",
            Self::Relative => "relative",
        }
    }
}

/// One tensor's part of a plan.
#[derive(Clone, Debug)]
pub struct TensorPlan {
    /// What is done with it.
    pub treatment: Treatment,
    /// Where its sensitivities come from, if it is quantized.
    pub sensitivity: SensitivitySource,
    /// Mean sensitivity, aliases included; for [`SensitivitySource::Relative`] times the mean of w^2.
    pub mean_h: f64,
    /// Mean of w^2.
    pub mean_square: f64,
    /// Range of the elements: what a grid needs to know of them.
    pub(crate) span: Span,
    /// Scales for its rows, if they are wanted and worth their bits.
    pub(crate) scaled: Option<Arc<ScaledRows>>,
    /// What was asked for this tensor alone.
    pub rule: Rule,
    /// Later tensors that equal this one.
    pub aliases: Vec<usize>,
}

impl TensorPlan {
    /// Sensitivity times w^2: what an element stakes, on average.
    pub(crate) fn stake(&self) -> f64 {
        match self.sensitivity {
            SensitivitySource::Relative => self.mean_h,
            SensitivitySource::File | SensitivitySource::Default => self.mean_h * self.mean_square,
        }
    }

    /// Scales of its rows, where [`row_scales`](CompressOptions::row_scales) asks for them and they are worth their bits.
    pub fn row_scales(&self) -> Option<&RowScales> {
        self.scaled.as_deref().map(|scaled| &scaled.scales)
    }

    /// Mean sensitivity to errors of its rows over their scales, if it has some; otherwise `mean_h`.
    pub fn mean_scaled_h(&self) -> f64 {
        self.scaled.as_deref().map_or(self.mean_h, |scaled| scaled.mean_h)
    }

    /// Whether all elements are greater than 0.
    pub fn positive(&self) -> bool {
        self.span.min > 0.0
    }

    /// The one sensitivity of all elements where each has not its own.
    pub(crate) fn constant_h(&self) -> f64 {
        match self.sensitivity {
            SensitivitySource::Relative => self.mean_h / self.mean_square.max(f64::MIN_POSITIVE),
            SensitivitySource::File | SensitivitySource::Default => self.mean_h,
        }
    }
}

/// What will be done with a checkpoint.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One per tensor of the checkpoint.
    pub tensors: Vec<TensorPlan>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Elements from which a tensor of two values is taken for a mask.
const TWO_VALUES_FROM: usize = 64;

/// Elements of a tensor that are looked at together, on one thread.
const SURVEY_CHUNK: usize = 1 << 16;

/// What one pass over a tensor tells.
struct Survey {
    n_not_finite: u64,
    mean_square: f64,
    span: Span,
    /// Whether there are two different elements, over and over, as in a mask.
    two_values: bool,
    /// The bytes of the first element, if all are the same.
    constant: Option<f32>,
    hash: u64,
}

fn survey(checkpoint: &Checkpoint, index: usize, info: &TensorInfo) -> Result<Survey> {
    let bytes = checkpoint.bytes(index)?;
    let size = info.dtype.size_bytes();
    let first = bytes.get(..size).unwrap_or_default();
    let same = bytes.chunks_exact(size).all(|b| b == first);
    let other = bytes.chunks_exact(size).find(|b| *b != first);
    let is_known = |b: &[u8]| b == first || Some(b) == other;
    let two_values = !same && bytes.len() >= TWO_VALUES_FROM * size && bytes.chunks_exact(size).all(is_known);
    let chunks = || {
        bytes
            .par_chunks(SURVEY_CHUNK * size)
            .map(|chunk| Part::of(chunk, info.dtype))
    };
    let (hash, parts) = rayon::join(|| xxh64(&bytes, 0), || chunks().collect::<Vec<_>>());
    let value = weights::to_f32(&Cow::Borrowed(first), info.dtype)
        .first()
        .copied();
    // The level must give the very bytes back: true for every float type but f64.
    let exact = |&value: &f32| {
        encode_f32(value, info.dtype).is_some_and(|bits| bits.to_le_bytes().get(..size) == Some(first))
    };
    Ok(Survey {
        n_not_finite: parts.iter().map(|p| p.n_not_finite).sum(),
        mean_square: parts.iter().map(|p| p.square).sum::<f64>() / (bytes.len() / size).max(1) as f64,
        span: parts.iter().fold(Span::EMPTY, |span, p| span.join(p.span)),
        constant: value.filter(|v| same && v.is_finite()).filter(exact),
        two_values,
        hash,
    })
}

/// What a survey finds in a part of a tensor, while it is in the fastest cache.
struct Part {
    n_not_finite: u64,
    square: f64,
    span: Span,
}

impl Part {
    fn of(bytes: &[u8], dtype: Dtype) -> Self {
        const LANES: usize = 8;
        let values = weights::to_f32(&Cow::Borrowed(bytes), dtype);
        let mut squares = [0.0; LANES];
        for row in values.chunks(LANES) {
            for (sum, &w) in squares.iter_mut().zip(row) {
                *sum += f64::from(w) * f64::from(w);
            }
        }
        Self {
            n_not_finite: values.iter().map(|w| u64::from(!w.is_finite())).sum(),
            square: squares.iter().sum(),
            span: Span::of_slice(&values),
        }
    }
}

impl Plan {
    /// Decides what is done with every tensor.
    ///
    /// # Errors
    /// If the checkpoint cannot be read, a tensor has more axes than a file can hold, or a pattern matches nothing.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        options: &CompressOptions,
        sensitivities: Option<&Sensitivities>,
        given: &Given,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let tensors = checkpoint.tensors();
        if let Some(info) = tensors.iter().find(|t| t.shape.len() as u64 > MAX_AXES) {
            return Err(Error::Options(format!(
                "tensor {:?} has {} axes; at most {MAX_AXES} can be stored",
                info.name,
                info.shape.len()
            )));
        }
        for glob in options
            .keep
            .iter()
            .chain(options.overrides.iter().map(|o| &o.glob))
        {
            if !tensors.iter().any(|t| glob.is_match(&t.name)) {
                let pattern = glob.glob();
                return Err(Error::Options(format!(
                    "pattern '{pattern}' matches no tensor; `inspect` lists the names"
                )));
            }
        }
        progress.start("survey", tensors.iter().filter_map(TensorInfo::size_bytes).sum());
        let surveys: Result<Vec<Survey>> = tensors
            .par_iter()
            .enumerate()
            .map(|(index, info)| {
                let survey = survey(checkpoint, index, info);
                progress.advance(info.size_bytes().unwrap_or(0));
                survey
            })
            .collect();
        let surveys = surveys?;
        progress.finish();
        let mut plan = Self {
            tensors: Vec::with_capacity(tensors.len()),
            warnings: Vec::new(),
        };
        for (index, (info, survey)) in tensors.iter().zip(&surveys).enumerate() {
            let rule = options.overrides.iter().rfind(|o| o.glob.is_match(&info.name));
            plan.tensors.push(TensorPlan {
                treatment: if given.has(checkpoint.alias_of(index).unwrap_or(index)) {
                    treatment_of_given(info, survey, options)?
                } else {
                    treatment(info, survey, options)
                },
                sensitivity: SensitivitySource::Default,
                mean_h: 1.0,
                mean_square: survey.mean_square,
                span: survey.span,
                scaled: None,
                rule: rule.map_or_else(Rule::default, |o| o.rule),
                aliases: Vec::new(),
            });
        }
        plan.find_aliases(checkpoint, &surveys, given)?;
        if sensitivities.is_none() && !options.alike && given.iter().next().is_none() {
            plan.weigh_by_size(tensors);
        }
        plan.weigh(tensors, sensitivities)?;
        plan.scale_rows(checkpoint, sensitivities, (options, given))?;
        Ok(plan)
    }

    /// Finds scales for rows of tensors that the file covers, if they are wanted; those that symbols are given with stay.
    fn scale_rows(
        &mut self,
        checkpoint: &Checkpoint,
        sensitivities: Option<&Sensitivities>,
        (options, given): (&CompressOptions, &Given),
    ) -> Result<()> {
        let tensors = checkpoint.tensors();
        let scales = |(index, info): (usize, &TensorInfo)| -> Result<Option<_>> {
            let Some(plan) = self.tensors.get(index) else {
                return Ok(None);
            };
            if let Some(layer) = given.get(index) {
                let Some(scales) = layer.scales.clone() else {
                    return Ok(None);
                };
                let weights = weights::load(checkpoint, index)?;
                return Ok(Some(ScaledRows::new(scales, &weights, plan.mean_h)));
            }
            if !options.row_scales || plan.treatment != Treatment::Main {
                return Ok(None);
            }
            let Some(h) = self.load_h(tensors, sensitivities, index)? else {
                return Ok(None);
            };
            let Some(scales) = h.row_scales(info) else {
                return Ok(None);
            };
            let mean_h = h.scaled(&scales).mean();
            let weights = weights::load(checkpoint, index)?;
            Ok(Some(ScaledRows::new(scales, &weights, mean_h)))
        };
        let found: Result<Vec<_>> = tensors.par_iter().enumerate().map(scales).collect();
        for (plan, scaled) in self.tensors.iter_mut().zip(found?) {
            plan.scaled = scaled.map(Arc::new);
        }
        Ok(())
    }

    /// Finds tensors that are tied or hold the same bytes and are treated alike. A tensor whose symbols are given is the same only
    /// as those tied to it.
    fn find_aliases(&mut self, checkpoint: &Checkpoint, surveys: &[Survey], given: &Given) -> Result<()> {
        let tensors = checkpoint.tensors();
        let mut seen: HashMap<_, usize> = HashMap::new();
        for (index, (info, survey)) in tensors.iter().zip(surveys).enumerate() {
            let Some(plan) = self.tensors.get(index) else {
                continue;
            };
            if matches!(
                plan.treatment,
                Treatment::Constant(_) | Treatment::Raw(Reason::Empty)
            ) {
                continue;
            }
            let key = (
                survey.hash,
                info.dtype,
                &info.shape,
                matches!(plan.treatment, Treatment::Raw(_)),
                plan.rule.to_string(),
                Some(checkpoint.alias_of(index).unwrap_or(index)).filter(|&storage| given.has(storage)),
            );
            let first = *seen.entry(key).or_insert(index);
            if first != index
                && (checkpoint.alias_of(index) == Some(first)
                    || checkpoint.bytes(first)? == checkpoint.bytes(index)?)
            {
                if let Some(plan) = self.tensors.get_mut(index) {
                    plan.treatment = Treatment::Alias(first);
                }
                if let Some(plan) = self.tensors.get_mut(first) {
                    plan.aliases.push(index);
                }
            }
        }
        Ok(())
    }

    /// Takes weights of small tensors to matter more, in inverse proportion to the cube root of their number; 1 in the mean of all weights.
    ///
    /// A layer passes on what it is given: were all as much off, the network would be off by what each adds. At one error per weight the large ones
    /// would add most, and a bit more is dearest there. Measured in `docs/results/no-data.md`.
    fn weigh_by_size(&mut self, tensors: &[TensorInfo]) {
        let n = |info: &TensorInfo| info.n_elements().unwrap_or(0) as f64;
        let main = || {
            let both = self.tensors.iter().zip(tensors);
            both.filter(|(p, _)| p.treatment == Treatment::Main)
                .map(|(_, t)| n(t))
        };
        let scale = main().sum::<f64>() / main().map(|n| n / n.cbrt()).sum::<f64>();
        for (plan, info) in self.tensors.iter_mut().zip(tensors) {
            if plan.treatment == Treatment::Main {
                plan.mean_h = scale / n(info).cbrt();
            }
        }
    }

    /// Finds every tensor's mean sensitivity.
    fn weigh(&mut self, tensors: &[TensorInfo], sensitivities: Option<&Sensitivities>) -> Result<()> {
        let means: Result<Vec<Option<f64>>> = (0..tensors.len())
            .into_par_iter()
            .map(|index| {
                let h = self.load_h(tensors, sensitivities, index)?;
                Ok(h.map(|h| h.mean()))
            })
            .collect();
        for (plan, mean) in self.tensors.iter_mut().zip(means?) {
            if let Some(mean) = mean {
                plan.mean_h = mean;
                plan.sensitivity = SensitivitySource::File;
            }
        }
        let is = |plan: &TensorPlan, treatment: &Treatment| plan.treatment == *treatment;
        let covered = |p: &&TensorPlan| p.sensitivity == SensitivitySource::File;
        // What the covered tensors, or all, stake per element: h x mean(w^2).
        let stake = |treatment: &Treatment, all: bool| {
            let chosen = self
                .tensors
                .iter()
                .filter(|p| is(p, treatment))
                .filter(|p| all || covered(p));
            let mut stakes: Vec<f64> = chosen.map(TensorPlan::stake).filter(|s| *s > 0.0).collect();
            stakes.sort_unstable_by(f64::total_cmp);
            stakes.get(stakes.len() / 2).copied()
        };
        let count = |treatment: &Treatment| -> u64 {
            self.tensors
                .iter()
                .zip(tensors)
                .filter(|(p, _)| is(p, treatment))
                .filter_map(|(_, t)| t.n_elements())
                .sum()
        };
        // An element of a one-dimensional tensor acts on a whole row of weights.
        let row = (count(&Treatment::Main) as f64 / count(&Treatment::Fine).max(1) as f64).clamp(1.0, 4096.0);
        let given = sensitivities.is_some();
        let main_stake = stake(&Treatment::Main, !given);
        let fine_stake = stake(&Treatment::Fine, false)
            .or(main_stake.map(|s| s * row))
            .or_else(|| stake(&Treatment::Fine, true));
        let mut missing: Vec<&str> = Vec::new();
        for (plan, info) in self.tensors.iter_mut().zip(tensors) {
            if plan.sensitivity == SensitivitySource::File {
                continue;
            }
            match plan.treatment {
                Treatment::Fine => {
                    plan.sensitivity = SensitivitySource::Relative;
                    plan.mean_h = fine_stake.unwrap_or(1.0);
                }
                Treatment::Main if given => {
                    plan.mean_h = main_stake.unwrap_or(1.0) / plan.mean_square.max(f64::MIN_POSITIVE);
                    missing.push(info.name.as_str());
                }
                _ => {}
            }
        }
        if let Some(first) = missing.first() {
            let which = match missing.len() {
                1 => format!("1 tensor of two or more dimensions is not in the sensitivity file: {first:?}"),
                n => format!(
                    "{n} tensors of two or more dimensions are not in the sensitivity file, the first is {first:?}"
                ),
            };
            let what = "what is not there gets the median importance of what is, so the predicted loss is partly a guess";
            self.warnings.push(format!("{which}; {what}"));
        }
        if let Some(sensitivities) = sensitivities.filter(|s| !s.unused.is_empty()) {
            let names = sensitivities
                .unused
                .iter()
                .take(3)
                .map(|n| format!("{n:?}"))
                .collect::<Vec<_>>()
                .join(", ");
            let n = sensitivities.unused.len();
            self.warnings.push(format!(
                "the sensitivity file has {n} entries that belong to no tensor: {names}"
            ));
        }
        Ok(())
    }

    /// Sensitivities of all elements of a quantized tensor from the file, those of its aliases added.
    pub(crate) fn load_h<'s>(
        &self,
        tensors: &[TensorInfo],
        sensitivities: Option<&'s Sensitivities>,
        index: usize,
    ) -> Result<Option<TensorSensitivity<'s>>> {
        let (Some(file), Some(plan)) = (sensitivities, self.tensors.get(index)) else {
            return Ok(None);
        };
        if !matches!(plan.treatment, Treatment::Fine | Treatment::Main) {
            return Ok(None);
        }
        let mut sum: Option<TensorSensitivity<'s>> = None;
        for &index in std::iter::once(&index).chain(&plan.aliases) {
            let Some(info) = tensors.get(index) else { continue };
            sum = match (sum, file.load(index, info)?) {
                (None, h) => h,
                (sum, None) => sum,
                (Some(mut sum), Some(h)) => {
                    sum.add(&h);
                    Some(sum)
                }
            };
        }
        Ok(sum)
    }
}

/// How a tensor is treated whose symbols are given: quantized in any case.
fn treatment_of_given(info: &TensorInfo, survey: &Survey, options: &CompressOptions) -> Result<Treatment> {
    let refuse = |what: &str| {
        Err(Error::Options(format!(
            "symbols of tensor {:?}: {what}",
            info.name
        )))
    };
    if options.keep.iter().any(|glob| glob.is_match(&info.name)) {
        return refuse("it is to be kept losslessly; do one or the other");
    }
    if survey.n_not_finite > 0 {
        return refuse("it has elements that are NaN or infinite, which only a lossless copy keeps");
    }
    Ok(match info.shape.len() {
        0 | 1 => Treatment::Fine,
        _ => Treatment::Main,
    })
}

fn treatment(info: &TensorInfo, survey: &Survey, options: &CompressOptions) -> Treatment {
    if !info.dtype.is_float() {
        return Treatment::Raw(Reason::NotFloat);
    }
    if options.keep.iter().any(|glob| glob.is_match(&info.name)) {
        return Treatment::Raw(Reason::Kept);
    }
    if survey.n_not_finite > 0 {
        return Treatment::Raw(Reason::NotFinite(survey.n_not_finite));
    }
    if info.n_elements() == Some(0) {
        return Treatment::Raw(Reason::Empty);
    }
    if info.shape.is_empty() {
        return Treatment::Raw(Reason::Scalar);
    }
    if let Some(value) = survey.constant {
        return Treatment::Constant(value);
    }
    if survey.two_values {
        return Treatment::Raw(Reason::TwoValues);
    }
    let largest = survey.span.magnitude();
    if largest > LARGEST || (largest < SMALLEST && largest > 0.0) {
        return Treatment::Raw(Reason::Range);
    }
    // Nearest levels other than zero are below twice the largest magnitude.
    let doubled = encode_f32(2.0 * largest, info.dtype).map(u64::to_le_bytes);
    let bytes = doubled.as_ref().and_then(|b| b.get(..info.dtype.size_bytes()));
    let fits = bytes
        .and_then(|b| decode_to_f32(b, info.dtype))
        .is_some_and(|v| v.iter().all(|v| v.is_finite()));
    if !fits {
        return Treatment::Raw(Reason::TypeRange(info.dtype));
    }
    if info.shape.len() == 1 {
        Treatment::Fine
    } else {
        Treatment::Main
    }
}
