//! Second moments of layers' inputs (Gram matrices) and of output gradients.
//!
//! For a layer y = W x the Gram matrix G = E[x x^T] says what an error E of W does to its output: E|E x|^2 = tr(E G E^T).
//! For a convolution x is a patch, in the order of its kernel: channel, row, column.

use super::sampled;
use crate::examples::{Batch, Examples, UNLABELLED};
use crate::gradient::to_vec;
use crate::graph::{Conv, Mode, Network, Node, Observer, Op, Value, Weights};
use crate::{Error, Parameters, Result};
use burn::tensor::module::unfold4d;
use burn::tensor::ops::UnfoldOptions;
use burn::tensor::{Device, Int, Tensor, TensorData};
use tersor::Progress;
use tersor_data::Random;

/// Layers with more inputs get diagonal blocks of this many instead of one matrix.
pub const MAX_GRAM: usize = 4096;

/// How to measure moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GramOptions {
    /// Examples used, in random order; all if there are fewer.
    pub samples: usize,
    /// Examples per pass.
    pub batch: usize,
    /// Of order and labels.
    pub seed: u64,
    /// Whether second moments of output gradients are measured too, at labels drawn from the network.
    pub output_gradients: bool,
}

/// Moments of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerMoments {
    /// Index of the layer's weight among the network's parameters.
    pub parameter: usize,
    /// Number of inputs in a block; the last block is filled up with zeros.
    pub block: usize,
    /// `[blocks, block, block]`, mean over positions, but for the padding of texts, and examples.
    pub gram: Vec<f32>,
    /// `[outputs]`: mean over examples of the squared gradient of an example's loss, summed over positions.
    pub output_gradients: Option<Vec<f32>>,
}

/// What is summed for one layer.
struct Sums {
    node: usize,
    parameter: usize,
    block: usize,
    gram: Vec<f64>,
    positions: f64,
    outputs: Vec<f64>,
    examples: f64,
}

/// Inputs of a layer as rows `[positions, inputs]`; patches for convolutions. Padding of sequences is left out.
pub(crate) fn input_rows(op: &Op, input: &Value, batch: &Batch) -> Option<Tensor<2>> {
    match (op, input) {
        (Op::Conv(conv), Value::Image(x)) => Some(patches(conv, x.clone())),
        (Op::Linear(_), Value::Vectors(x)) => Some(x.clone()),
        (Op::Linear(_), Value::Sequence(x)) => {
            let [b, l, d] = x.dims();
            Some(filled(x.clone().reshape([b * l, d]), batch))
        }
        _ => None,
    }
}

/// Rows of a batch's positions without those of padding.
pub(crate) fn filled(rows: Tensor<2>, batch: &Batch) -> Tensor<2> {
    match batch.filled_rows() {
        Some(indices) => select(rows, &indices),
        None => rows,
    }
}

/// Some of the rows.
pub(crate) fn select(rows: Tensor<2>, indices: &[i32]) -> Tensor<2> {
    let indices = Tensor::<1, Int>::from_data(TensorData::from(indices), &rows.device());
    rows.select(0, indices)
}

fn patches(conv: &Conv, x: Tensor<4>) -> Tensor<2> {
    if conv.kernel == 1 && conv.padding == 0 && conv.stride == 1 {
        let [b, c, h, w] = x.dims();
        return x.permute([0, 2, 3, 1]).reshape([b * h * w, c]);
    }
    let options = UnfoldOptions::new([conv.stride; 2], [conv.padding; 2], [1; 2]);
    let columns = unfold4d(x, [conv.kernel; 2], options);
    let [b, n, l] = columns.dims();
    columns.swap_dims(1, 2).reshape([b * l, n])
}

impl Sums {
    fn add(&mut self, rows: &Tensor<2>) -> Result<()> {
        self.positions += rows.dims()[0] as f64;
        add_products(&mut self.gram, self.block, rows, rows)
    }
}

/// Adds `a^T b` to `[blocks, block, block]` sums: of `[rows, inputs]`, the blocks on the diagonal of `[inputs, inputs]`, the last one
/// in the corner of its block.
pub(crate) fn add_products(sums: &mut [f64], block: usize, a: &Tensor<2>, b: &Tensor<2>) -> Result<()> {
    let [_, inputs] = a.dims();
    for (at, sums) in sums.chunks_exact_mut(block * block).enumerate() {
        let from = at * block;
        let width = block.min(inputs - from);
        let part = |rows: &Tensor<2>| rows.clone().narrow(1, from, width);
        let product = to_vec(part(a).transpose().matmul(part(b)))?;
        for (row, values) in sums.chunks_exact_mut(block).zip(product.chunks_exact(width)) {
            row.iter_mut().zip(values).for_each(|(s, v)| *s += f64::from(*v));
        }
    }
    Ok(())
}

/// Adds what passes to the sums; with gradients wanted, adds a zero to each output, whose gradient is the output's.
struct Watch<'a> {
    sums: &'a mut [Sums],
    probes: Option<Vec<(usize, Value)>>,
    batch: &'a Batch,
    device: Device,
}

impl Observer for Watch<'_> {
    fn node(&mut self, index: usize, node: &Node, inputs: &[&Value], output: Value) -> Result<Value> {
        let Some((at, sums)) = self.sums.iter_mut().enumerate().find(|(_, s)| s.node == index) else {
            return Ok(output);
        };
        let rows = inputs.first().and_then(|x| input_rows(&node.op, x, self.batch));
        let rows = rows.ok_or_else(|| Error::Internal(format!("{:?} has no rows", node.name)))?;
        sums.add(&rows.inner_if_tracked())?;
        let Some(probes) = &mut self.probes else {
            return Ok(output);
        };
        macro_rules! probe {
            ($kind:ident, $t:expr) => {{
                let zero = Tensor::zeros($t.dims(), &self.device).require_grad();
                probes.push((at, Value::$kind(zero.clone())));
                Value::$kind($t + zero)
            }};
        }
        Ok(match output {
            Value::Image(t) => probe!(Image, t),
            Value::Vectors(t) => probe!(Vectors, t),
            Value::Sequence(t) => probe!(Sequence, t),
            Value::Tokens(t) => Value::Tokens(t),
        })
    }
}

/// A tensor without its history.
trait InnerIfTracked {
    fn inner_if_tracked(self) -> Self;
}

impl InnerIfTracked for Tensor<2> {
    fn inner_if_tracked(self) -> Self {
        if self.is_autodiff() { self.inner() } else { self }
    }
}

/// Sums of squares per output of `[examples, outputs, positions]` gradients, positions summed first.
fn squares(
    gradient: &[f32],
    [examples, outputs, positions]: [usize; 3],
    sums: &mut [f64],
    by_position: bool,
) {
    for example in gradient.chunks_exact((outputs * positions).max(1)).take(examples) {
        for (o, sum) in sums.iter_mut().enumerate() {
            let at = |p: usize| {
                let index = if by_position {
                    p * outputs + o
                } else {
                    o * positions + p
                };
                f64::from(example.get(index).copied().unwrap_or(0.0))
            };
            let total: f64 = (0..positions).map(at).sum();
            *sum += total * total;
        }
    }
}

fn layers(network: &Network, specs: &[crate::graph::ParameterSpec]) -> Vec<Sums> {
    let layer = |(index, node): (usize, &Node)| {
        let (inputs, outputs) = match node.op {
            Op::Conv(c) => (c.inputs * c.kernel * c.kernel, c.outputs),
            Op::Linear(l) => (l.inputs, l.outputs),
            _ => return None,
        };
        let parameter = *node.parameters.first()?;
        specs.get(parameter)?;
        let block = inputs.min(MAX_GRAM);
        Some(Sums {
            node: index,
            parameter,
            block,
            gram: vec![0.0; inputs.div_ceil(block) * block * block],
            positions: 0.0,
            outputs: vec![0.0; outputs],
            examples: 0.0,
        })
    };
    network.nodes.iter().enumerate().filter_map(layer).collect()
}

/// Moments of every convolution and linear layer.
///
/// # Errors
/// As [`Network::forward`].
pub fn moments(
    network: &Network,
    parameters: &Parameters,
    examples: &dyn Examples,
    device: &Device,
    options: &GramOptions,
    progress: &dyn Progress,
) -> Result<Vec<LayerMoments>> {
    let weights = Weights::new(parameters, device, options.output_gradients);
    let mut sums = layers(network, parameters.specs());
    let mut random = Random::keyed(&[options.seed, 0x6772_616d]);
    let n_examples = options.samples.min(examples.len());
    progress.start("second moments", n_examples as u64);
    for indices in sampled(examples.len(), n_examples, options.batch, options.seed) {
        let batch = examples.batch(&indices, None)?;
        let mut watch = Watch {
            sums: &mut sums,
            probes: options.output_gradients.then(Vec::new),
            batch: &batch,
            device: weights.device().clone(),
        };
        let input = batch.to_device(weights.device());
        let output = network.forward(&weights, input, Mode::Evaluate, &mut watch)?;
        if let Some(probes) = watch.probes {
            let rows = output
                .rows()
                .ok_or_else(|| Error::Input("the network has no logits".into()))?;
            let [n, classes] = rows.dims();
            let logits = crate::loss::Logits {
                values: to_vec(rows.clone().inner())?,
                classes,
            };
            let labels = logits.sample(&batch.labels, 1.0, &mut random);
            let start = logits.gradient(&labels, 1.0, 1.0);
            let examples_in_batch = indices.len() as f64;
            let per_example = labels.iter().filter(|&&l| l != UNLABELLED).count() as f64 / examples_in_batch;
            let start = Tensor::<2>::from_data(TensorData::new(start, [n, classes]), weights.device());
            let gradients = (rows * start).sum().backward();
            for (at, probe) in probes {
                let Some(sum) = sums.get_mut(at) else { continue };
                let outputs = sum.outputs.len();
                sum.examples += examples_in_batch * per_example;
                match probe {
                    Value::Image(t) => {
                        let [b, _, h, w] = t.dims();
                        let gradient = t.grad(&gradients).map_or(Ok(Vec::new()), to_vec)?;
                        squares(&gradient, [b, outputs, h * w], &mut sum.outputs, false);
                    }
                    Value::Vectors(t) => {
                        let [b, _] = t.dims();
                        let gradient = t.grad(&gradients).map_or(Ok(Vec::new()), to_vec)?;
                        squares(&gradient, [b, outputs, 1], &mut sum.outputs, true);
                    }
                    Value::Sequence(t) => {
                        let [b, l, _] = t.dims();
                        let gradient = t.grad(&gradients).map_or(Ok(Vec::new()), to_vec)?;
                        squares(&gradient, [b, outputs, l], &mut sum.outputs, true);
                    }
                    Value::Tokens(_) => {}
                }
            }
        }
        progress.advance(indices.len() as u64);
    }
    progress.finish();
    let finish = |s: Sums| LayerMoments {
        parameter: s.parameter,
        block: s.block,
        gram: s.gram.iter().map(|g| (g / s.positions.max(1.0)) as f32).collect(),
        output_gradients: options.output_gradients.then(|| {
            s.outputs
                .iter()
                .map(|g| (g / s.examples.max(1.0)) as f32)
                .collect()
        }),
    };
    Ok(sums.into_iter().map(finish).collect())
}
