//! A layer made ready: curvature with its factor, targets, weights of rows. None of it depends on step or slope.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::factor::Factor;
use super::moment::{Gram, MomentError, row_weights};
use super::panel::{Panel, Rows, blocks};
use crate::error::{Error, Result, not_negative};

/// Rows that a task works on at once; each reads all of the curvature.
pub(super) const BATCH: usize = 32;

/// Least damping tried when there is none and the curvature is singular.
const LEAST_DAMPING: f64 = 1e-6;

/// A layer `y = W x`. `weights` are `[rows, n_in]`, row by row, and finite.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// The weights; a row for each output.
    pub weights: &'a [f32],
    /// Second moments `E[x x^T]` of the inputs that the quantized layer will see.
    pub gram: Gram<'a>,
    /// Moments `E[x_original x^T]` of the original with those inputs, in the shape of the Gram matrix.
    pub cross: Option<&'a [f32]>,
    /// Mean sensitivity of a weight, in loss per squared weight.
    pub sensitivity: f64,
    /// Relative weights of the rows: second moments of output gradients.
    pub row_weights: Option<&'a [f32]>,
}

impl<'a> Layer<'a> {
    /// A layer of sensitivity 1 without cross moments or row weights.
    pub const fn new(weights: &'a [f32], gram: Gram<'a>) -> Self {
        Layer {
            weights,
            gram,
            cross: None,
            sensitivity: 1.0,
            row_weights: None,
        }
    }
}

/// Settings of error feedback. None is stored in a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeedbackConfig {
    /// Added to the diagonal of the curvature, in units of its mean, 0 to 1: moments are estimates. Default: 0.01.
    pub damping: f64,
    /// The same for correcting targets by cross moments, 0 to 1. Default: 0.02.
    pub target_damping: f64,
    /// How many times loss counts while errors are fed back, above 0; once during descent and in what is reported.
    /// Default: 1.
    ///
    /// Feedback takes it that columns to come are free to make good what a column loses. Below 1 bit per weight
    /// most of those become zero instead. Measured on Laplacian weights and inputs of correlation 0.8, after three
    /// passes of descent: at 0.5 to 0.8 bits a caution of 1.5 lowered the objective by 2 to 6 % with a coder that
    /// learns and by up to 4 % at iterated prices; at 1.4 to 3.6 bits it raised it by up to 4 %.
    pub caution: f64,
    /// Most passes of coordinate descent, or further ones along a trellis, where a layer of a million weights has none. Default: 3.
    pub passes: usize,
    /// Whether weights of exactly 0 stay 0: those of a pruned network. Default: true.
    pub keep_zeros: bool,
    /// Whether to quantize on a trellis where the coder knows about it, with as many further passes instead of descent. Default: true.
    pub trellis: bool,
}

impl Default for FeedbackConfig {
    fn default() -> Self {
        FeedbackConfig {
            damping: 0.01,
            target_damping: 0.02,
            caution: 1.0,
            passes: 3,
            keep_zeros: true,
            trellis: true,
        }
    }
}

/// A layer ready to be quantized at any step and slope.
pub struct Problem<'a> {
    pub(super) layer: Layer<'a>,
    pub(super) config: FeedbackConfig,
    /// What the quantized weights should be near: the weights, or what makes the best of changed inputs.
    pub(super) targets: Cow<'a, [f32]>,
    pub(super) curvatures: Vec<Curvature>,
    /// Half the sensitivity of each row.
    pub(super) half_weights: Vec<f64>,
    damping: f64,
}

/// One diagonal block of `H`.
pub(super) struct Curvature {
    /// Its inputs.
    pub(super) inputs: Range<usize>,
    /// `H`, symmetric.
    pub(super) h: Vec<f32>,
    /// `H = U U^T`.
    pub(super) factor: Factor,
}

impl Curvature {
    /// A block of the damped Gram matrix, with ten times the damping as often as it takes, and the damping it took.
    fn new(gram: &Gram, inputs: Range<usize>, scale: f64, damping: f64) -> Result<(Self, f64)> {
        let mut damping = damping;
        loop {
            let h = gram.damped(&inputs, scale, damping);
            if let Some(factor) = Factor::new(&h, inputs.len()) {
                return Ok((Curvature { inputs, h, factor }, damping));
            }
            if damping >= 1.0 {
                let (first, last) = (inputs.start, inputs.end - 1);
                return Err(MomentError::Indefinite { first, last }.into());
            }
            damping = (10.0 * damping).clamp(LEAST_DAMPING, 1.0);
        }
    }

    /// Rows of `H` from `first` on.
    pub(super) fn panel(&self, first: usize) -> Panel<'_, f32> {
        let stride = self.inputs.len();
        Panel {
            values: &self.h[first * stride..],
            stride,
        }
    }
}

impl<'a> Problem<'a> {
    /// Checks a layer, factorises its curvature and corrects its targets.
    ///
    /// With `m` the mean diagonal of the Gram matrix `G`, the curvature is `H = G / m + damping I`, rounded to
    /// `f32`. Where that is not positive definite, a block gets ten times the damping, up to 1. If `G` is 0
    /// everywhere, nothing is known of the inputs, and `H = I`.
    ///
    /// # Errors
    /// [`Error::Moment`] for moments that cannot be, [`Error::Setting`] for damping or sensitivity out of range.
    ///
    /// # Panics
    /// If the weights are not rows of `n_in`.
    pub fn new(layer: &Layer<'a>, config: &FeedbackConfig) -> Result<Self> {
        let gram = &layer.gram;
        let rows = layer.weights.len() / gram.n_in();
        assert_eq!(layer.weights.len(), rows * gram.n_in(), "rows of n_in weights");
        not_negative("sensitivity", layer.sensitivity)?;
        fraction("damping", config.damping)?;
        fraction("target_damping", config.target_damping)?;
        if !(config.caution > 0.0 && config.caution.is_finite()) {
            return Err(Error::Setting {
                name: "caution",
                value: config.caution,
                allowed: "a finite number > 0",
            });
        }
        let mean = gram.mean_diagonal();
        let (scale, least) = if mean > 0.0 { (1.0 / mean, 0.0) } else { (0.0, 1.0) };
        let mut problem = Problem {
            layer: *layer,
            config: *config,
            targets: Cow::Borrowed(layer.weights),
            curvatures: Vec::new(),
            half_weights: row_weights(layer.row_weights, rows)?,
            damping: 0.0,
        };
        for weight in &mut problem.half_weights {
            *weight *= 0.5 * layer.sensitivity;
        }
        if let Some(cross) = layer.cross {
            gram.check_elements("cross", cross)?;
            if mean > 0.0 {
                problem.targets = Cow::Owned(corrected(layer, cross, scale, config.target_damping)?);
            }
        }
        for inputs in gram.spans() {
            let (curvature, damping) = Curvature::new(gram, inputs, scale, config.damping.max(least))?;
            problem.curvatures.push(curvature);
            problem.damping = problem.damping.max(damping);
        }
        Ok(problem)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.half_weights.len()
    }

    /// Number of inputs.
    pub const fn n_in(&self) -> usize {
        self.layer.gram.n_in()
    }

    /// The weights, row by row.
    pub const fn weights(&self) -> &'a [f32] {
        self.layer.weights
    }

    /// Mean sensitivity of a weight, in loss per squared weight.
    pub const fn sensitivity(&self) -> f64 {
        self.layer.sensitivity
    }

    /// Whether a trellis is asked for.
    pub const fn wants_trellis(&self) -> bool {
        self.config.trellis
    }

    /// What the quantized weights should be near, in the order of the weights.
    pub fn targets(&self) -> &[f32] {
        &self.targets
    }

    /// Damping of the curvature: that of the configuration, or the most that a block needed.
    pub const fn damping(&self) -> f64 {
        self.damping
    }
}

/// `W (C + d I) (G + d I)^-1`, block by block, with `d` in units of the mean diagonal of `G`.
///
/// That is the least-squares solution of `W x_original = W* x`, ridged towards `W`. `2 rows n_in block`
/// multiplications for the product and as many for the solution, and a factor of its own.
fn corrected(layer: &Layer, cross: &[f32], scale: f64, damping: f64) -> Result<Vec<f32>> {
    let n_in = layer.gram.n_in();
    let mut targets = vec![0f32; layer.weights.len()];
    for inputs in layer.gram.spans() {
        let (Curvature { factor, .. }, damping) =
            Curvature::new(&layer.gram, inputs.clone(), scale, damping)?;
        let (moments, stride) = layer.gram.rows_of(cross, &inputs);
        let width = inputs.len();
        targets
            .par_chunks_mut(BATCH * n_in)
            .zip(layer.weights.par_chunks(BATCH * n_in))
            .for_each(|(out, weights)| {
                let row = |w: &[f32]| {
                    w[inputs.clone()]
                        .iter()
                        .map(|&w| f64::from(w))
                        .collect::<Vec<f64>>()
                };
                let weights: Vec<f64> = weights.chunks_exact(n_in).flat_map(row).collect();
                let mut values: Vec<f64> = weights.iter().map(|w| w * damping / scale).collect();
                let mut product = Rows {
                    values: &mut values,
                    stride: width,
                    offset: 0,
                };
                for block in blocks(width) {
                    let part = |row: &[f64]| row[block.clone()].to_vec();
                    let coefs: Vec<f64> = weights.chunks_exact(width).flat_map(part).collect();
                    let values = &moments[block.start * stride..];
                    product.add(&coefs, block.len(), Panel { values, stride }, 0..width);
                }
                product.values.iter_mut().for_each(|value| *value *= scale);
                factor.solve(&mut product);
                for (out, value) in out.chunks_exact_mut(n_in).zip(values.chunks_exact(width)) {
                    let out = out[inputs.clone()].iter_mut();
                    out.zip(value).for_each(|(out, &value)| *out = value as f32);
                }
            });
    }
    Ok(targets)
}

/// Refuses what is not in 0..=1.
fn fraction(name: &'static str, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        value,
        allowed: "0 to 1",
    })
}
