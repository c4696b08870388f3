//! How each kind of layer carries second derivatives from its output to its inputs and parameters.

use crate::cpu::{image_gradient, weight_gradient};
use crate::gradient::to_vec;
use crate::graph::{BatchNorm, Conv, Network, Node, Op, Pool, Value, Weights};
use crate::{Error, Result};
use burn::tensor::module::{max_pool2d_with_indices, max_pool2d_with_indices_backward};
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Tensor, TensorData};

/// One node on the way back.
pub(super) struct Rule<'a> {
    pub(super) network: &'a Network,
    pub(super) node: &'a Node,
    pub(super) weights: &'a Weights,
    /// What the node read.
    pub(super) inputs: &'a [&'a Value],
    /// Whether the curvature at its inputs is of use.
    pub(super) wants_input: bool,
}

/// Curvature at a node's inputs and parameters, in their order.
pub(super) struct Back {
    pub(super) inputs: Vec<Value>,
    pub(super) parameters: Vec<Vec<f32>>,
}

/// Whether a layer has a rule.
pub(super) fn has_rule(op: &Op) -> bool {
    !matches!(
        op,
        Op::Silu | Op::Multiply | Op::Embedding | Op::RmsNorm { .. } | Op::Attention(_)
    )
}

fn unfit(node: &Node) -> Error {
    Error::Internal(format!("no curvature through {} {:?}", node.op.kind(), node.name))
}

/// The curvatures that two readers of a node send to it, added.
pub(super) fn sum(a: Value, b: Value) -> Result<Value> {
    Ok(match (a, b) {
        (Value::Image(a), Value::Image(b)) => Value::Image(a + b),
        (Value::Vectors(a), Value::Vectors(b)) => Value::Vectors(a + b),
        _ => return Err(Error::Internal("curvatures of different kinds meet".into())),
    })
}

/// Sum over all axes but the channels.
fn per_channel(t: Tensor<4>) -> Result<Vec<f32>> {
    to_vec(t.sum_dims(&[0, 2, 3]))
}

impl Rule<'_> {
    fn parameter<const D: usize>(&self, at: usize) -> Result<Tensor<D>> {
        self.weights.shaped(self.network, self.node, at)
    }

    pub(super) fn apply(&self, d2: Value) -> Result<Back> {
        let only = |inputs: Vec<Value>| Back {
            inputs,
            parameters: Vec::new(),
        };
        Ok(match (&self.node.op, self.inputs, d2) {
            (Op::Conv(conv), [Value::Image(x)], Value::Image(d2)) => self.conv(conv, x, &d2)?,
            (Op::Linear(linear), [Value::Vectors(x)], Value::Vectors(d2)) => {
                let weight = self.parameter::<2>(0)?;
                let mut parameters = vec![to_vec(d2.clone().transpose().matmul(x.clone().square()))?];
                if linear.bias {
                    parameters.push(to_vec(d2.clone().sum_dim(0))?);
                }
                Back {
                    inputs: vec![Value::Vectors(d2.matmul(weight.square()))],
                    parameters,
                }
            }
            (Op::BatchNorm(norm), [Value::Image(x)], Value::Image(d2)) => self.batch_norm(norm, x, d2)?,
            (Op::Relu, [Value::Image(x)], Value::Image(d2)) => only(vec![Value::Image(
                d2.mask_fill(x.clone().lower_equal_elem(0.0), 0.0),
            )]),
            (Op::Relu, [Value::Vectors(x)], Value::Vectors(d2)) => only(vec![Value::Vectors(
                d2.mask_fill(x.clone().lower_equal_elem(0.0), 0.0),
            )]),
            (Op::MaxPool(pool), [Value::Image(x)], Value::Image(d2)) => {
                only(vec![Value::Image(unpool(pool, x.clone(), d2))])
            }
            (Op::AveragePool(_), [Value::Image(x)], Value::Image(d2)) => {
                only(vec![self.average_pool(x, d2)?])
            }
            (Op::Flatten, [Value::Image(x)], Value::Vectors(d2)) => {
                only(vec![Value::Image(d2.reshape(x.dims()))])
            }
            (Op::Flatten, [Value::Vectors(_)], d2) | (Op::Dropout(_), [_], d2) => only(vec![d2]),
            (Op::Add, [_, _], d2) => only(vec![d2.clone(), d2]),
            (Op::Concat, [Value::Image(a), Value::Image(b)], Value::Image(d2)) => {
                let (first, second) = (a.dims()[1], b.dims()[1]);
                let part = |from, n| Value::Image(d2.clone().narrow(1, from, n));
                only(vec![part(0, first), part(first, second)])
            }
            (Op::Shortcut { channels }, [Value::Image(x)], Value::Image(d2)) => {
                let old = x.dims()[1];
                let d2 = d2.narrow(1, (channels - old) / 2, old);
                let every_second = Pool {
                    kernel: 1,
                    stride: 2,
                    ceil: false,
                };
                only(vec![Value::Image(unpool(&every_second, x.clone(), d2))])
            }
            _ => return Err(unfit(self.node)),
        })
    }

    /// d2x is d2y through the transposed convolution with squared weights; weights meet squared inputs.
    fn conv(&self, conv: &Conv, x: &Tensor<4>, d2: &Tensor<4>) -> Result<Back> {
        let weight = self.parameter::<4>(0)?;
        let squares = weight_gradient(conv, &x.clone().square(), &weight, d2);
        let mut parameters = vec![to_vec(squares)?];
        if conv.bias {
            parameters.push(per_channel(d2.clone())?);
        }
        let inputs = if self.wants_input {
            let [_, _, h, w] = x.dims();
            vec![Value::Image(image_gradient(conv, [h, w], &weight.square(), d2))]
        } else {
            Vec::new()
        };
        Ok(Back { inputs, parameters })
    }

    /// y = scale (x - mean) / deviation + shift, channel by channel.
    fn batch_norm(&self, norm: &BatchNorm, x: &Tensor<4>, d2: Tensor<4>) -> Result<Back> {
        let [scale, mean, variance] = [0, 2, 3].map(|at| self.parameter::<1>(at));
        let (scale, mean, variance) = (to_vec(scale?)?, to_vec(mean?)?, to_vec(variance?)?);
        let deviation: Vec<f32> = variance
            .iter()
            .map(|v| (v + norm.epsilon as f32).sqrt())
            .collect();
        let per_channel_tensor = |values: Vec<f32>| -> Tensor<4> {
            let n = values.len();
            Tensor::from_data(TensorData::new(values, [1, n, 1, 1]), self.weights.device())
        };
        let factor = scale
            .iter()
            .zip(&deviation)
            .map(|(s, d)| (s / d).powi(2))
            .collect();
        let normal = (x.clone() - per_channel_tensor(mean))
            * per_channel_tensor(deviation.iter().map(|d| 1.0 / d).collect());
        Ok(Back {
            parameters: vec![
                per_channel(normal.square() * d2.clone())?,
                per_channel(d2.clone())?,
            ],
            inputs: vec![Value::Image(d2 * per_channel_tensor(factor))],
        })
    }

    /// A mean over n elements: each gets 1 / n^2 of the curvature. Only windows that do not overlap have a rule.
    fn average_pool(&self, x: &Tensor<4>, d2: Tensor<4>) -> Result<Value> {
        let dims = x.dims();
        let ([_, _, h, w], [_, _, rows, columns]) = (dims, d2.dims());
        if [h, w] == [rows, columns] {
            return Ok(Value::Image(d2));
        }
        if [rows, columns] == [1, 1] {
            let n = (h * w) as f32;
            return Ok(Value::Image(d2.div_scalar(n * n).expand(dims)));
        }
        Err(unfit(self.node))
    }
}

/// Sends each element to the one that the window took.
fn unpool(pool: &Pool, x: Tensor<4>, d2: Tensor<4>) -> Tensor<4> {
    let (kernel, stride) = ([pool.kernel; 2], [pool.stride; 2]);
    let options = MaxPoolOptions::new(kernel)
        .with_stride(stride)
        .with_ceil_mode(pool.ceil);
    let (_, indices) = max_pool2d_with_indices(x.clone(), options);
    max_pool2d_with_indices_backward(x, kernel, stride, [0, 0], [1, 1], pool.ceil, d2, indices)
}
