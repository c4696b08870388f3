//! Running a network on a batch.

use super::{Input, Network, Node, Op, Value};
use crate::gradient::to_vec;
use crate::{Error, Parameters, Result};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

mod attention;
mod image;
mod vector;

/// Whether batch-norm uses the batch's statistics and dropout drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// As the network is used: running statistics, no dropout.
    Evaluate,
    /// As it is trained.
    Train,
}

/// Mean and population variance that a batch-norm layer saw in a batch, `[channels]` each.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    /// Means.
    pub mean: Tensor<1>,
    /// Variances, over all images and positions.
    pub variance: Tensor<1>,
}

/// Parameters on a device, in the order of [`Network::parameters`].
#[derive(Clone, Debug)]
pub struct Weights {
    tensors: Vec<Tensor<1>>,
    device: Device,
}

impl Weights {
    /// Copies parameters to a device. With `tracked`, gradients of those that train can be asked for.
    pub fn new(parameters: &Parameters, device: &Device, tracked: bool) -> Self {
        let device = if tracked {
            device.clone().autodiff()
        } else {
            device.clone()
        };
        let tensors = parameters.specs().iter().enumerate().map(|(i, spec)| {
            let values = parameters.values(i).to_vec();
            let tensor = Tensor::from_data(TensorData::new(values, [spec.len()]), &device);
            if tracked && spec.role.is_trainable() {
                tensor.require_grad()
            } else {
                tensor
            }
        });
        Self {
            tensors: tensors.collect(),
            device,
        }
    }

    /// Copies them back, in the order of parameters.
    pub(crate) fn values(&self) -> Result<Vec<Vec<f32>>> {
        self.tensors.iter().cloned().map(to_vec).collect()
    }

    /// Parameter number `at` of a node, in its shape.
    pub(crate) fn shaped<const D: usize>(
        &self,
        network: &Network,
        node: &Node,
        at: usize,
    ) -> Result<Tensor<D>> {
        let weights = self;
        NodeWeights {
            node,
            network,
            weights,
        }
        .get(at)
    }

    /// All tensors, flat, in the order of [`Network::parameters`].
    pub fn tensors(&self) -> &[Tensor<1>] {
        &self.tensors
    }

    /// Where they are.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

/// Sees every node of a run. Written once, it serves all models.
pub trait Observer {
    /// A node has computed `output` of `inputs`; what is returned flows on.
    fn node(&mut self, index: usize, node: &Node, inputs: &[&Value], output: Value) -> Result<Value> {
        let _ = (index, node, inputs);
        Ok(output)
    }

    /// A part of the loss that is not the answers': its gradient with respect to the parameters is that of what is asked for.
    fn loss(&mut self) -> Option<Tensor<1>> {
        None
    }

    /// A batch-norm layer in training has seen these statistics.
    fn statistics(&mut self, index: usize, statistics: BatchStatistics) {
        let _ = (index, statistics);
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// The parameters of one node.
pub(crate) struct NodeWeights<'a> {
    node: &'a Node,
    network: &'a Network,
    weights: &'a Weights,
}

impl NodeWeights<'_> {
    /// Parameter number `at` of the node, in its shape.
    pub(crate) fn get<const D: usize>(&self, at: usize) -> Result<Tensor<D>> {
        self.optional(at)?
            .ok_or_else(|| Error::Internal(format!("{:?} lacks parameter {at}", self.node.name)))
    }

    /// As [`get`](Self::get), `None` if the node has no such parameter.
    pub(crate) fn optional<const D: usize>(&self, at: usize) -> Result<Option<Tensor<D>>> {
        let Some(&index) = self.node.parameters.get(at) else {
            return Ok(None);
        };
        let found = self
            .network
            .parameters
            .get(index)
            .zip(self.weights.tensors.get(index));
        let Some((spec, tensor)) = found else {
            return Err(Error::Internal(format!("there is no parameter {index}")));
        };
        let shape = <[usize; D]>::try_from(spec.shape.as_slice());
        let shape = shape.map_err(|_| Error::Internal(format!("{:?} is not of rank {D}", spec.name)))?;
        Ok(Some(tensor.clone().reshape(shape)))
    }
}

impl Network {
    /// Checks that a batch is what the network reads.
    fn check_input(&self, input: &Value) -> Result<()> {
        let dims = input.dims();
        let is_fit = match (self.input, input) {
            (Input::Image(shape), Value::Image(_)) => dims.get(1..) == Some(&shape),
            (Input::Tokens { context, .. }, Value::Tokens(_)) => dims.get(1).is_some_and(|&l| l <= context),
            _ => false,
        };
        if is_fit {
            return Ok(());
        }
        let want = match self.input {
            Input::Image([c, h, w]) => format!("images of {c} x {h} x {w}"),
            Input::Tokens { context, .. } => format!("sequences of at most {context} tokens"),
        };
        Err(Error::Input(format!(
            "{} reads {want}, not {} of extents {dims:?}",
            self.name,
            input.kind()
        )))
    }

    /// The output of the last node for a batch.
    ///
    /// # Errors
    /// [`Error::Input`] if the batch is not what the network reads, and what the observer returns.
    pub fn forward(
        &self,
        weights: &Weights,
        input: Value,
        mode: Mode,
        observer: &mut dyn Observer,
    ) -> Result<Value> {
        self.check_input(&input)?;
        let last_use = self.last_uses();
        let mut values: Vec<Option<Value>> = vec![None; self.nodes.len()];
        if let Some(first) = values.first_mut() {
            *first = Some(input);
        }
        for (index, node) in self.nodes.iter().enumerate().skip(1) {
            let inputs: Vec<&Value> = node
                .inputs
                .iter()
                .filter_map(|&i| values.get(i).and_then(Option::as_ref))
                .collect();
            let (output, statistics) = self.apply(index, weights, &inputs, mode)?;
            if let Some(statistics) = statistics {
                observer.statistics(index, statistics);
            }
            let output = observer.node(index, node, &inputs, output)?;
            for &i in &node.inputs {
                if last_use.get(i) == Some(&index)
                    && let Some(value) = values.get_mut(i)
                {
                    *value = None;
                }
            }
            if let Some(value) = values.get_mut(index) {
                *value = Some(output);
            }
        }
        values
            .pop()
            .flatten()
            .ok_or_else(|| Error::Internal("a network without nodes".into()))
    }

    /// For every node the last one that reads it: after that its output can go.
    pub fn last_uses(&self) -> Vec<usize> {
        let mut last = vec![0; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for &input in &node.inputs {
                if let Some(l) = last.get_mut(input) {
                    *l = index;
                }
            }
        }
        last
    }

    /// The output of one node, and of a batch-norm layer in training what it saw.
    ///
    /// # Errors
    /// [`Error::Input`] if an input is not of the kind that the operation reads.
    pub fn apply(
        &self,
        index: usize,
        weights: &Weights,
        inputs: &[&Value],
        mode: Mode,
    ) -> Result<(Value, Option<BatchStatistics>)> {
        let Some(node) = self.nodes.get(index) else {
            return Err(Error::Internal(format!("there is no node {index}")));
        };
        let parameters = NodeWeights {
            node,
            network: self,
            weights,
        };
        let unfit = || {
            let kinds: Vec<&str> = inputs.iter().map(|v| v.kind()).collect();
            let what = format!(
                "{} {:?} cannot read {}",
                node.op.kind(),
                node.name,
                kinds.join(", ")
            );
            Error::Input(what)
        };
        let output = match (&node.op, inputs) {
            (Op::Conv(conv), [Value::Image(x)]) => image::conv(conv, x.clone(), &parameters)?,
            (Op::BatchNorm(norm), [Value::Image(x)]) => {
                return image::batch_norm(norm, x.clone(), &parameters, mode);
            }
            (Op::MaxPool(pool), [Value::Image(x)]) => image::max_pool(pool, x.clone()),
            (Op::AveragePool(size), [Value::Image(x)]) => image::average_pool(*size, x.clone()),
            (Op::Concat, [Value::Image(a), Value::Image(b)]) => {
                Value::Image(Tensor::cat(vec![a.clone(), b.clone()], 1))
            }
            (Op::Shortcut { channels }, [Value::Image(x)]) => image::shortcut(*channels, x.clone())?,
            (Op::Flatten, [Value::Image(x)]) => {
                let [batch, c, h, w] = x.dims();
                Value::Vectors(x.clone().reshape([batch, c * h * w]))
            }
            (Op::Flatten, [Value::Vectors(x)]) => Value::Vectors(x.clone()),
            (Op::Linear(_), [x]) => vector::linear(x, &parameters)?.ok_or_else(unfit)?,
            (Op::Relu, [x]) => vector::relu(x),
            (Op::Silu, [x]) => vector::silu(x),
            (Op::Dropout(thousandths), [x]) => vector::dropout(*thousandths, x, mode),
            (Op::Add, [a, b]) => vector::add(a, b).ok_or_else(unfit)?,
            (Op::Multiply, [a, b]) => vector::multiply(a, b).ok_or_else(unfit)?,
            (Op::Embedding, [Value::Tokens(ids)]) => {
                Value::Sequence(burn::tensor::module::embedding(parameters.get(0)?, ids.clone()))
            }
            (Op::RmsNorm { epsilon }, [Value::Sequence(x)]) => {
                vector::rms_norm(*epsilon, x.clone(), parameters.get(0)?)
            }
            (Op::Attention(a), [Value::Sequence(q), Value::Sequence(k), Value::Sequence(v)]) => {
                attention::attention(a, q.clone(), k.clone(), v.clone())
            }
            _ => return Err(unfit()),
        };
        Ok((output, None))
    }
}
