//! A factor and a summand for each channel.

use super::channels::Channels;
use crate::cpu::host::{contiguous, tensor, values};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;

/// Images `[image, channel, y, x]` times `factor` plus `summand` of each channel.
pub(crate) fn scale_and_shift(x: Tensor<4>, factor: Tensor<1>, summand: Tensor<1>) -> Tensor<4> {
    let ours = plain(&x, &factor, &summand).or_else(|| tracked(&x, &factor, &summand));
    ours.unwrap_or_else(|| {
        let per_channel = |t: Tensor<1>| t.reshape([1, x.dims()[1], 1, 1]);
        let (factor, summand) = (per_channel(factor), per_channel(summand));
        x * factor + summand
    })
}

fn forward(dims: [usize; 4], x: &[f32], factors: &[f32], summands: &[f32]) -> FlexTensor {
    let coefficients = factors.iter().zip(summands).map(|(&a, &c)| [a, c]);
    let coefficients: Vec<[f32; 2]> = coefficients.collect();
    tensor(Channels::of(dims).affine(x, &coefficients), dims)
}

/// Without gradients; `None` if the tensors are elsewhere.
fn plain(x: &Tensor<4>, factor: &Tensor<1>, summand: &Tensor<1>) -> Option<Tensor<4>> {
    let dims = x.dims();
    let (x, factor, summand) = (contiguous(x)?, contiguous(factor)?, contiguous(summand)?);
    let y = forward(dims, values(&x), values(&factor), values(&summand));
    Some(Tensor::from_primitive::<Flex>(y))
}

/// With gradients; `None` if the tensors are elsewhere.
fn tracked(x: &Tensor<4>, factor: &Tensor<1>, summand: &Tensor<1>) -> Option<Tensor<4>> {
    let primitive = |t: &Tensor<1>| t.clone().try_into_primitive::<Autodiff<Flex>>().ok();
    let dims = x.dims();
    let x = x.clone().try_into_primitive::<Autodiff<Flex>>().ok()?;
    let (factor, summand) = (primitive(factor)?, primitive(summand)?);
    let [xs, factors, summands] =
        [x.primitive(), factor.primitive(), summand.primitive()].map(FlexTensor::to_contiguous);
    let y = forward(dims, xs.as_slice()?, factors.as_slice()?, summands.as_slice()?);
    let prepared = Affine
        .prepare::<NoCheckpointing>([x.node(), factor.node(), summand.node()])
        .compute_bound()
        .stateful();
    let y = match prepared {
        OpsKind::Tracked(mut prepared) => {
            let state = (prepared.checkpoint(&x), prepared.checkpoint(&factor));
            prepared.finish(state, y)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
}

/// The function as the framework's automatic differentiation sees it.
#[derive(Debug)]
struct Affine;

impl Backward<Flex, 3> for Affine {
    /// Where the images and the factors are.
    type State = (NodeId, NodeId);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let (x, factor) = ops.state;
        let y_gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let x: FlexTensor = checkpointer.retrieve_node_output(x);
        let factor: FlexTensor = checkpointer.retrieve_node_output(factor);
        let dims: [usize; 4] = x.layout().shape().dims();
        let channels = Channels::of(dims);
        let [x_node, factor_node, summand_node] = ops.parents;
        if factor_node.is_some() || summand_node.is_some() {
            let means = vec![0.0; dims[1]];
            let sums = channels.gradient_sums(&means, values(&x.to_contiguous()), values(&y_gradient));
            for (node, which) in [(factor_node, 1), (summand_node, 0)] {
                if let Some(node) = node {
                    let gradient = sums.iter().map(|sums| sums[which] as f32).collect();
                    gradients.register::<Flex>(node.id, tensor(gradient, [dims[1]]));
                }
            }
        }
        if let Some(node) = x_node {
            let coefficients = values(&factor.to_contiguous())
                .iter()
                .map(|&a| [a, 0.0])
                .collect::<Vec<_>>();
            let gradient = channels.affine(values(&y_gradient), &coefficients);
            gradients.register::<Flex>(node.id, tensor(gradient, dims));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};

    #[test]
    fn outputs_and_gradients_are_those_of_the_framework() {
        let device = Device::flex().autodiff();
        let random = |shape| Tensor::<1>::random([shape], Distribution::Normal(0.0, 1.0), &device);
        let x = Tensor::<4>::random([4, 3, 5, 7], Distribution::Normal(1.0, 1.0), &device);
        let (factor, summand) = (random(3), random(3));
        let all = |ours: bool| {
            let x = x.clone().require_grad();
            let (a, c) = (factor.clone().require_grad(), summand.clone().require_grad());
            let y = if ours {
                tracked(&x, &a, &c).expect("tensors are in main memory")
            } else {
                x.clone() * a.clone().reshape([1, 3, 1, 1]) + c.clone().reshape([1, 3, 1, 1])
            };
            let mut gradients = (y.clone() * y.clone()).sum().backward();
            let x = x.grad_remove(&mut gradients).expect("x is tracked").into_data();
            let [a, c] = [a, c].map(|t| t.grad_remove(&mut gradients).expect("it is tracked").into_data());
            [y.into_data(), x, a, c].map(|t| t.try_into_vec::<f32>().expect("f32"))
        };
        for (what, (ours, theirs)) in all(true).into_iter().zip(all(false)).enumerate() {
            assert_eq!(ours.len(), theirs.len(), "quantity {what}");
            for (a, b) in ours.iter().zip(&theirs) {
                assert!(
                    (a - b).abs() < 1e-4 * (1.0 + b.abs()),
                    "quantity {what}: {a} and {b}"
                );
            }
        }
        let y = plain(
            &x.clone().inner(),
            &factor.clone().inner(),
            &summand.clone().inner(),
        );
        let y = y
            .expect("tensors are in main memory")
            .into_data()
            .try_into_vec::<f32>();
        assert_eq!(y.expect("f32"), all(true)[0]);
    }
}
