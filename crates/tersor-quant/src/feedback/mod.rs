//! Rate-aware assignment with error feedback: what one weight loses is made good by those not yet assigned.
//!
//! The loss of a layer `y = W x` depends on its weights together. With `G = E[x x^T]` and the errors `e = w - v` of
//! a row, the mean square of what an output is off by is `e^T G e`. A [`Problem`] holds a layer with its curvature
//! and quantizes it to multiples of a step, at any step and slope:
//!
//! ```text
//! J = sum_r 1/2 s rho_r e_r^T H e_r  +  slope * bits          H = G / m + damping I
//! ```
//!
//! `m` is the mean diagonal of `G`, `s` the sensitivity of the layer, `rho` the weights of the rows with mean 1,
//! `e_r` the difference of targets and decoded values in row `r`. With `G = I` and no damping it is the objective
//! of the other modules. The targets are the weights, or, with `C = E[x_original x^T]`, the
//! `W* = W (C + d I) (G + d I)^-1` that makes the best of inputs which are not those of the original any more.
//!
//! # Feedback
//! Let `H = U U^T` with `U` upper triangular. Then `e^T H e = |U^T e|^2 = sum_k U_kk^2 (e_k + a_k)^2` with
//! `a_k = sum_{j<k} e_j U_jk / U_kk`: a sum with one term per column, in which a column sees the errors before it.
//! So column after column the symbol is chosen that costs least, `1/2 s rho U_kk^2 (t - v)^2 + slope * bits` with
//! `t = w_k + a_k`, and the terms add up to the loss exactly. The candidates are the two multiples of the step
//! around `t`, the next ones towards zero while they get cheaper, and zero.
//!
//! # Descent
//! Passes of coordinate descent follow. With all other symbols fixed, the loss over `v_k` is a parabola of
//! curvature `H_kk` with its minimum at `v_k + (H e)_k / H_kk`, and the present symbol is among the candidates. So
//! at static prices a change never raises `J` (up to the rounding of `f64`), no pass does, and the passes converge.
//! Iterated prices of order 0 ([`Problem::quantize_iterated`]) become ideal for the counts after each pass, which
//! lowers the rate of fixed symbols, and are fixed during the next: neither raises `J`, which then has the entropy
//! of the symbols for its bits. At prices that depend on what was coded before ([`Problem::quantize`]) a change
//! moves the prices of others, and `J` may rise: then the pass is undone. In all cases passes end when `J` falls by
//! less than 1e-4 of itself.
//!
//! # Trellis
//! With a coder that knows of it ([`TrellisPrice`](crate::TrellisPrice)), [`Problem::quantize_on_trellis`] takes columns along the paths
//! of a trellis ([`trellis`](crate::trellis)) instead: the survivor of each state has a field of its own. Descent cannot follow,
//! since one changed parity would change all symbols after it; passes feed anew from better prices. On Laplacian weights at 0.7 and 1.4
//! bits that costs more than 0.1 bits per weight less than feedback and descent (`tests/trellis.rs`).
//!
//! # Order and threads
//! Symbols are decided row by row, in the order in which they are coded. Rows share nothing but prices: at static
//! ones they are worked on in parallel, at sequential ones one after the other. Results are the same for any number
//! of threads, and a static price gives the same symbols either way.
//!
//! # Cost
//! For `R` rows, `n` inputs and blocks of `b` (`b = n` up to some size, see [`Gram`]): `n b^2 / 3` operations for
//! the factor; `R n b` for feedback; `R n b` before the first pass of descent and `2 b` per changed symbol in each;
//! with cross moments another factor and `4 R n b`. Memory beside the input: `12 n b` bytes for the curvature,
//! `16 R n` for symbols and fields while at work, `4 R n` for corrected targets.
//!
//! A layer of 4,096 x 4,096 takes 448 MiB so, 64 MiB more with corrected targets, and on two cores that were shared
//! with other work, with three passes: 3 s to factorise and 19 s at static prices, 22 s at iterated ones, 49 s row
//! after row without the time of a coder; 36 s for two factors and corrected targets; another time 1.7 times as
//! much of each. The command is `cargo bench -p tersor-quant --bench feedback`.
//! On a trellis, one row after the other, two passes took 76 s on the same machine when it was idle, where scalar feedback and three passes took
//! 22 s row after row; layers of that size have one pass there. `scripts/measure_feedback.py` measures the whole command, coder included: on two cores
//! of another machine that did other work 70 s on a trellis with the coder `context`, 54 to 64 s without a trellis, 21 s with `ans`.
//!
//! # Moments that are not what they should be
//! Of wrong shape, not finite, with a negative diagonal, not symmetric, or far from positive definite: a
//! [`MomentError`]. Singular, or off by rounding: damping makes up for it, more of it if need be
//! ([`Problem::damping`]). Inputs that are always 0 have nothing but damping for curvature, so that their weights
//! go where bits are cheap. All of them 0: `H = I`.
//!
//! # Source
//! Hassibi and Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon", 1993: the
//! compensation. Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ", 2023: columns in a fixed order, one factor for all
//! rows, lazy blocks. Conzelmann and Bamler, "Reducing Storage of Pretrained Neural Networks by Rate-Constrained
//! Quantization and Entropy Coding" (CERWU), 2025, arXiv 2505.18758: rate in each choice. `WaterSIC`, 2026, arXiv
//! 2603.04956: how near to the limit that comes. Ours: the factor of `H` itself instead of that of its inverse, the
//! correction of targets, descent with rate, and the prices of a coder kept behind
//! [`SequentialPrice`](crate::SequentialPrice).

mod factor;
mod iterated;
mod moment;
mod panel;
mod problem;
mod prune;
mod schedule;
mod stage;
mod trellis;

pub use iterated::Priced;
pub use moment::{Gram, MomentError};
pub use problem::{FeedbackConfig, Layer, Problem};
pub use schedule::{Quantized, Stage};

/// See [`step_for_slope`].
const SLOPE_PER_SQUARED_STEP: f64 = 0.025;

/// The step that goes with a slope when errors are fed back: `step^2 = slope / (0.025 sensitivity)`.
///
/// 1.5 times that of [`grid::step_for_slope`](crate::grid::step_for_slope), because the curvature that is left
/// after feedback is 0.1 to 0.5 of the diagonal. Measured on ResNet-32: the objective fell by 4 % from 0.05 to
/// 0.015.
///
/// Infinite for a sensitivity of 0, 0 for a slope of 0.
pub fn step_for_slope(slope: f64, sensitivity: f64) -> f32 {
    if slope <= 0.0 {
        return 0.0;
    }
    (slope / (SLOPE_PER_SQUARED_STEP * sensitivity)).sqrt() as f32
}
