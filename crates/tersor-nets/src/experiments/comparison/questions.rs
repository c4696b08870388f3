//! What is asked, and the files that tell.

use super::cells::{Cell, grids, paper};
use crate::experiments::PAPER_METHODS;
use crate::experiments::estimates::{ALL, SAMPLES, usual};
use crate::graph::{Input, Network, Role};
use crate::sensitivity::{Estimate, Estimator};
use crate::{Error, Result};
use tersor::options::{Centres, Feedback, Method, Scope, Target};
use tersor_codec::Coder;

/// End of the series whose files all have one size.
pub(super) const AT_THREE: &str = " at 3 bits";
/// Examples that shared values are fine-tuned on.
const TUNED: usize = 5000;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Accuracy against bits per parameter: four quantizers, fixed-length and Huffman codes, without and with fine-tuning.
    Figure1,
    /// How many samples a Hessian needs, and whether the root of Adam's second moments stands in for it.
    Figure2,
    /// Plain and Hessian-weighted means of uniform cells.
    Figure3,
    /// One codebook for all layers, or one for each.
    Scope,
    /// Estimates of sensitivities and their samples.
    Sensitivities,
    /// Every method on a language model.
    Transformer,
    /// Levels, slope, step, tempering, floor, samples.
    Hyperparameters,
    /// Every method at 1 to 8 bits, for what the diagonal predicts of their loss.
    OffDiagonal,
}

impl Question {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Figure1 => "figure1",
            Self::Figure2 => "figure2",
            Self::Figure3 => "figure3",
            Self::Scope => "scope",
            Self::Sensitivities => "sensitivities",
            Self::Transformer => "transformer",
            Self::Hyperparameters => "hyperparameters",
            Self::OffDiagonal => "off-diagonal",
        }
    }

    pub(super) fn cells(self, network: &Network) -> Result<Vec<Cell>> {
        let is_text = matches!(network.input, Input::Tokens { .. });
        let needs_hessian = matches!(self, Self::Figure1 | Self::Figure2 | Self::Figure3);
        if is_text && needs_hessian || self == Self::Transformer && !is_text {
            let kind = if is_text { "language models" } else { "images" };
            return Err(Error::Input(format!(
                "{} is not asked of networks for {kind}; {} is one",
                self.name(),
                network.name
            )));
        }
        let h = usual(network);
        Ok(match self {
            Self::Figure1 => figure1(h),
            Self::Figure2 => figure2(),
            Self::Figure3 => figure3(h),
            Self::Scope => scope(network, h)?,
            Self::Sensitivities => sensitivities(is_text),
            Self::Transformer => every_method(h, &[3.0, 4.0, 5.0, 6.0]),
            Self::Hyperparameters => hyperparameters(h),
            Self::OffDiagonal => every_method(h, &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0]),
        })
    }
}

/// What normalisation and biases take beside the codewords of fixed length, in bits per parameter.
const BESIDE: f64 = 0.2;

fn figure1(h: Estimate) -> Vec<Cell> {
    let mut cells = Vec::new();
    for coder in [Coder::Fixed, Coder::Huffman] {
        for method in PAPER_METHODS {
            let cell = |tuned: &str, bits: f64| {
                Cell::new(format!("{method}, {coder}{tuned}"), paper(method, coder))
                    .with(h)
                    .of_bits(bits + BESIDE)
            };
            cells.extend([2.0, 3.0, 4.0, 5.0, 6.0].map(|bits| cell("", bits)));
            cells.extend([2.0, 3.0, 4.0].map(|bits| cell(", tuned", bits).tuned(TUNED)));
        }
    }
    cells
}

fn figure2() -> Vec<Cell> {
    let estimates = [
        ("Hessian, all samples", Estimator::Hessian, ALL),
        ("Hessian, 1,000 samples", Estimator::Hessian, SAMPLES),
        ("root of Adam's v, all samples", Estimator::SqrtAdam, ALL),
    ];
    let method = Method::HessianKMeans;
    let mut cells = Vec::new();
    for bits in [2.0, 3.0, 4.0, 5.0] {
        for (series, estimator, samples) in estimates {
            let cell = Cell::new(series, paper(method, Coder::Huffman));
            cells.push(cell.with(Estimate::new(estimator, samples)).of_bits(bits));
        }
        let alike = Cell::new("all alike", paper(Method::KMeans, Coder::Huffman));
        cells.push(alike.of_bits(bits));
    }
    cells
}

fn figure3(h: Estimate) -> Vec<Cell> {
    let centres = [
        ("mean", Centres::Mean),
        ("Hessian-weighted mean", Centres::WeightedMean),
        ("middle", Centres::Grid),
    ];
    let mut cells = Vec::new();
    for bits in [1.5, 2.0, 2.5, 3.0, 4.0] {
        for (series, centres) in centres {
            let mut options = paper(Method::Uniform, Coder::Huffman);
            options.centres = centres;
            cells.push(Cell::new(series, options).with(h).of_bits(bits));
        }
    }
    cells
}

/// The paper's methods, then grids: without and with error feedback, and on a trellis.
fn every_method(h: Estimate, sizes: &[f64]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &bits in sizes {
        for method in PAPER_METHODS {
            let options = paper(method, Coder::Huffman);
            cells.push(Cell::new(method.name(), options).with(h).of_bits(bits));
        }
        let cell = Cell::new("grid", grids(Coder::Context));
        cells.push(cell.with(h).of_bits(bits));
        for (series, trellis) in [("grid, feedback", false), ("grid, feedback, trellis", true)] {
            let mut options = grids(Coder::Context).with_feedback(Feedback::Auto);
            options.trellis = trellis;
            cells.push(Cell::new(series, options).with_moments(h).of_bits(bits));
        }
    }
    cells
}

/// Han's choice: levels of convolutions and of dense layers.
const HAN: [usize; 2] = [256, 32];

fn scope(network: &Network, h: Estimate) -> Result<Vec<Cell>> {
    let coder = Coder::Huffman;
    let mut cells = Vec::new();
    for divisor in [1, 8] {
        let mut overrides = Vec::new();
        for spec in network.parameters.iter().filter(|s| s.role == Role::Weight) {
            let [convolution, dense] = HAN.map(|k| (k / divisor).max(2));
            let k = if spec.shape.len() > 2 { convolution } else { dense };
            overrides.push(format!("{}=k{k}", spec.name).parse()?);
        }
        let at = format!("han-{divisor}");
        let per_layer = |series: &str, method| {
            let mut options = paper(method, coder).with_scope(Scope::Tensor);
            options.overrides.clone_from(&overrides);
            Cell::new(series, options.with_target(Target::Levels(HAN[1] / divisor))).at(&at)
        };
        let han = per_layer("k-means, levels by kind of layer", Method::KMeans);
        let weighted = per_layer("k-means, levels by kind of layer, h", Method::HessianKMeans);
        let form = |series: &str, options| Cell::new(series, options).at(&at).of_size(&han);
        let [one, own] = [Scope::Global, Scope::Tensor].map(|scope| {
            let alike = paper(Method::KMeans, coder).with_scope(scope);
            (alike, paper(Method::HessianKMeans, coder).with_scope(scope))
        });
        let others = [
            form("k-means, one codebook", one.0),
            form("k-means, one codebook, h", one.1).with(h),
            form("k-means, as many levels per tensor", own.0.clone()),
            form("k-means, as many levels per tensor, h", own.1.clone()).with(h),
            form("k-means, levels at one slope", own.0).with_own_levels(),
            form("k-means, levels at one slope, h", own.1)
                .with_own_levels()
                .with(h),
            form("grids, one codebook", grids(coder).with_scope(Scope::Global)),
            form("grids, one codebook, h", grids(coder).with_scope(Scope::Global)).with(h),
            form("grids, one slope", grids(coder)),
            form("grids, one slope, h", grids(coder)).with(h),
        ];
        cells.push(han);
        cells.push(weighted.with(h));
        cells.extend(others);
    }
    Ok(cells)
}

fn sensitivities(is_text: bool) -> Vec<Cell> {
    let fisher = |temperature| Estimator::Fisher { temperature };
    let mut estimates = vec![
        ("Fisher", fisher(1.0), [100, 1000]),
        ("Fisher, temperature 3", fisher(3.0), [100, 1000]),
        ("empirical Fisher", Estimator::EmpiricalFisher, [100, 1000]),
        ("v of Adam", Estimator::Adam, [1000, 5000]),
        ("root of v", Estimator::SqrtAdam, [1000, 5000]),
        ("Hutchinson", Estimator::Hutchinson { probes: 4 }, [100, 1000]),
    ];
    if !is_text {
        estimates.push(("Hessian", Estimator::Hessian, [100, 1000]));
    }
    let mut cells = Vec::new();
    for bits in [2.5, 3.5] {
        cells.push(Cell::new("all alike", grids(Coder::Context)).of_bits(bits));
        let numbers =
            |&(name, estimator, numbers): &(_, _, [usize; 2])| numbers.map(|n| (name, estimator, n));
        for (name, estimator, samples) in estimates.iter().flat_map(numbers) {
            let cell = Cell::new(format!("{name}, {samples} samples"), grids(Coder::Context));
            cells.push(cell.with(Estimate::new(estimator, samples)).of_bits(bits));
        }
    }
    cells
}

fn hyperparameters(h: Estimate) -> Vec<Cell> {
    let huffman = |method| paper(method, Coder::Huffman);
    let mut cells: Vec<Cell> = Vec::new();
    cells.extend([4, 8, 16, 32, 64, 128].map(|k| {
        let options = huffman(Method::HessianKMeans).with_target(Target::Levels(k));
        Cell::new("levels of Hessian-weighted k-means", options)
            .with(h)
            .at(&k)
    }));
    cells.extend([1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5].map(|slope| {
        let options = huffman(Method::Ecsq).with_target(Target::Slope(slope));
        Cell::new("slope of ECSQ", options)
            .with(h)
            .at(&format!("{slope:e}"))
    }));
    cells.extend([0.01, 0.02, 0.04, 0.06, 0.08].map(|step| {
        let options = huffman(Method::Uniform).with_target(Target::Step(step));
        Cell::new("step of uniform cells", options).with(h).at(&step)
    }));
    let bits = 3.0;
    let at_three = |what: &str, h: Estimate| {
        Cell::new(format!("{what}{AT_THREE}"), grids(Coder::Context))
            .with(h)
            .of_bits(bits)
    };
    cells.extend([0.0, 0.25, 0.5, 0.75, 1.0].map(|power| {
        let mut cell = at_three("power", h).at(&power);
        cell.options.power = power;
        cell
    }));
    cells.extend([0.0, 0.01, 0.05, 0.2, 1.0].map(|floor| {
        let mut cell = at_three("floor", h).at(&floor);
        cell.options.floor = floor;
        cell
    }));
    cells.extend([10, 100, 1000].map(|n| {
        let h = Estimate { samples: n, ..h };
        at_three("samples", h).at(&n)
    }));
    cells
}
