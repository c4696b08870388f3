//! Batch-norm at the batch's own statistics.

use super::channels::Channels;
use crate::cpu::host::{tensor, values};
use crate::graph::BatchStatistics;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn::tensor::module::batch_norm_train;

/// Images `[image, channel, y, x]` less the batch's mean of each channel, divided by its standard deviation, times `scale`, plus
/// `shift`; and these means and variances (Ioffe and Szegedy, 2015).
pub(crate) fn normalize(
    x: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    epsilon: f64,
) -> (Tensor<4>, BatchStatistics) {
    tracked(&x, &scale, &shift, epsilon).unwrap_or_else(|| {
        let y = batch_norm_train(x, scale, shift, epsilon);
        let (mean, variance) = (y.mean, y.variance);
        (y.output, BatchStatistics { mean, variance })
    })
}

/// What a batch says of each channel.
#[derive(Clone, Debug)]
struct Moments {
    mean: f64,
    /// 1 / sqrt(variance + epsilon).
    inverse_deviation: f64,
}

/// `None` if the tensors are elsewhere.
fn tracked(
    x: &Tensor<4>,
    scale: &Tensor<1>,
    shift: &Tensor<1>,
    epsilon: f64,
) -> Option<(Tensor<4>, BatchStatistics)> {
    let primitive = |t: &Tensor<1>| t.clone().try_into_primitive::<Autodiff<Flex>>().ok();
    let dims = x.dims();
    let x = x.clone().try_into_primitive::<Autodiff<Flex>>().ok()?;
    let (scale, shift) = (primitive(scale)?, primitive(shift)?);
    let [images, factors, summands] =
        [x.primitive(), scale.primitive(), shift.primitive()].map(FlexTensor::to_contiguous);
    let images = images.as_slice()?;
    let moments = Channels::of(dims).moments(images);
    let statistic = |which: usize| {
        let values = moments.iter().map(|m| m[which] as f32).collect();
        Tensor::from_primitive::<Flex>(tensor(values, [dims[1]]))
    };
    let seen = BatchStatistics {
        mean: statistic(0),
        variance: statistic(1),
    };
    let moments = moments.iter().map(|&[mean, variance]| Moments {
        mean,
        inverse_deviation: (variance.max(0.0) + epsilon).sqrt().recip(),
    });
    let moments: Vec<Moments> = moments.collect();
    let affine = factors.as_slice::<f32>()?.iter().zip(summands.as_slice::<f32>()?);
    let affine = affine.zip(&moments).map(|((&scale, &shift), moments)| {
        let factor = f64::from(scale) * moments.inverse_deviation;
        [factor as f32, (f64::from(shift) - moments.mean * factor) as f32]
    });
    let y = Channels::of(dims).affine(images, &affine.collect::<Vec<_>>());
    let y = tensor(y, dims);
    let prepared = Normalization
        .prepare::<NoCheckpointing>([x.node(), scale.node(), shift.node()])
        .compute_bound()
        .stateful();
    let y = match prepared {
        OpsKind::Tracked(mut prepared) => {
            let state = (prepared.checkpoint(&x), prepared.checkpoint(&scale), moments);
            prepared.finish(state, y)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    Some((Tensor::from_primitive::<Autodiff<Flex>>(y), seen))
}

/// Batch-norm as the framework's automatic differentiation sees it.
#[derive(Debug)]
struct Normalization;

impl Backward<Flex, 3> for Normalization {
    /// Where the images and the factors are, and what the batch says.
    type State = (NodeId, NodeId, Vec<Moments>);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let (x, scale, moments) = ops.state;
        let y_gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let x: FlexTensor = checkpointer.retrieve_node_output(x);
        let scale: FlexTensor = checkpointer.retrieve_node_output(scale);
        let dims: [usize; 4] = x.layout().shape().dims();
        let channels = Channels::of(dims);
        let (x, scale) = (x.to_contiguous(), scale.to_contiguous());
        let means: Vec<f32> = moments.iter().map(|m| m.mean as f32).collect();
        let sums = channels.gradient_sums(&means, values(&x), values(&y_gradient));
        let [x_node, scale_node, shift_node] = ops.parents;
        if let Some(node) = x_node {
            // scale / deviation (g - mean(g) - x' mean(g x')), x' the normalized images.
            let n = (dims[0] * channels.row()) as f64;
            let per_channel = moments.iter().zip(&sums).zip(values(&scale));
            let coefficients = per_channel.map(|((moments, [plain, centred]), &scale)| {
                let factor = f64::from(scale) * moments.inverse_deviation;
                let slope = -factor * centred / n * moments.inverse_deviation.powi(2);
                let summand = -factor * plain / n - slope * moments.mean;
                [factor as f32, slope as f32, summand as f32]
            });
            let coefficients: Vec<[f32; 3]> = coefficients.collect();
            let gradient = channels.affine_of_two(values(&y_gradient), values(&x), &coefficients);
            gradients.register::<Flex>(node.id, tensor(gradient, dims));
        }
        if let Some(node) = scale_node {
            let gradient = sums.iter().zip(&moments);
            let gradient = gradient.map(|(sums, m)| (sums[1] * m.inverse_deviation) as f32);
            gradients.register::<Flex>(node.id, tensor(gradient.collect(), [dims[1]]));
        }
        if let Some(node) = shift_node {
            let gradient = sums.iter().map(|sums| sums[0] as f32);
            gradients.register::<Flex>(node.id, tensor(gradient.collect(), [dims[1]]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};

    /// Output, statistics and gradients, with our own operation or the framework's.
    fn all(ours: bool, x: &Tensor<4>, scale: &Tensor<1>, shift: &Tensor<1>) -> Vec<Vec<f32>> {
        let x = x.clone().require_grad();
        let (scale, shift) = (scale.clone().require_grad(), shift.clone().require_grad());
        let (y, mean, variance) = if ours {
            let (y, seen) = tracked(&x, &scale, &shift, 1e-5).expect("tensors are in main memory");
            (y, seen.mean, seen.variance)
        } else {
            let y = batch_norm_train(x.clone(), scale.clone(), shift.clone(), 1e-5);
            (y.output, y.mean, y.variance)
        };
        let mut gradients = (y.clone() * y.clone() * x.clone()).sum().backward();
        let vec = |t: burn::tensor::TensorData| t.try_into_vec::<f32>().expect("f32");
        let gradient = |t: &Tensor<1>, gradients: &mut _| t.grad_remove(gradients).expect("it is tracked");
        vec![
            vec(y.into_data()),
            vec(mean.into_data()),
            vec(variance.into_data()),
            vec(x.grad_remove(&mut gradients).expect("x is tracked").into_data()),
            vec(gradient(&scale, &mut gradients).into_data()),
            vec(gradient(&shift, &mut gradients).into_data()),
        ]
    }

    #[test]
    fn outputs_statistics_and_gradients_are_those_of_the_framework() {
        let device = Device::flex().autodiff();
        for [n, c, h, w] in [[2, 1, 1, 2], [3, 5, 4, 7], [6, 2, 16, 16]] {
            let random = Distribution::Normal;
            let x = Tensor::random([n, c, h, w], random(3.0, 2.0), &device);
            let scale = Tensor::random([c], random(1.0, 0.5), &device);
            let shift = Tensor::random([c], random(0.0, 1.0), &device);
            let theirs = all(false, &x, &scale, &shift);
            let pairs = all(true, &x, &scale, &shift).into_iter().zip(theirs);
            for (what, (ours, theirs)) in pairs.enumerate() {
                assert_eq!(ours.len(), theirs.len(), "quantity {what}");
                let size = theirs.iter().fold(1.0f32, |m, x| m.max(x.abs()));
                for (a, b) in ours.iter().zip(&theirs) {
                    assert!((a - b).abs() < 1e-4 * size, "quantity {what}: {a} and {b}");
                }
            }
        }
    }
}
