//! Convolutions on the CPU: the framework brings every batch into another order on one thread before each of its own, and back.
//!
//! Where the kernel moves by one position, a padded image is multiplied as it lies in memory (`sliding.rs`, `planes.rs`, `overlapping.rs`);
//! elsewhere its patches are copied row by row into a matrix (`patches.rs`) that is multiplied with the weights (`unfolded.rs`,
//! `matrix.rs`). `kernel.rs` chooses, and the framework is told the gradients by an operation of our own.

mod kernel;
mod matrix;
mod overlapping;
mod patches;
mod planes;
mod sliding;
mod unfolded;

use super::host::{contiguous, tensor, values};
use crate::graph::Conv;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn::tensor::module::{conv_transpose2d, conv2d, conv2d_weight_backward};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use patches::Geometry;

/// Options of a convolution for the framework.
fn options(conv: &Conv) -> ConvOptions<2> {
    ConvOptions::new([conv.stride; 2], [conv.padding; 2], [1; 2], 1)
}

/// The convolution of images `[image, input, y, x]` with weights `[output, input, y, x]`, and biases `[output]` if there are any.
pub(crate) fn convolve(conv: &Conv, x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let Some(geometry) = Geometry::new(*conv, height, width) else {
        return conv2d(x, weight, bias, options(conv));
    };
    plain(&geometry, &x, &weight, bias.as_ref())
        .or_else(|| tracked(&geometry, &x, &weight, bias.as_ref()))
        .unwrap_or_else(|| conv2d(x, weight, bias, options(conv)))
}

/// The gradient of a convolution of `x` with respect to its weight, from that of its output: linear in both. Nothing is tracked.
pub(crate) fn weight_gradient(
    conv: &Conv,
    x: &Tensor<4>,
    weight: &Tensor<4>,
    y_gradient: &Tensor<4>,
) -> Tensor<4> {
    let ours = || {
        let [_, _, height, width] = x.dims();
        let geometry = Geometry::new(*conv, height, width)?;
        let (x, y) = (contiguous(x)?, contiguous(y_gradient)?);
        let gradient = kernel::weight_gradient(&geometry, values(&x), values(&y));
        Some(Tensor::from_primitive::<Flex>(tensor(gradient, weight.dims())))
    };
    ours().unwrap_or_else(|| {
        conv2d_weight_backward(x.clone(), weight.clone(), y_gradient.clone(), options(conv))
    })
}

/// The gradient of a convolution with respect to images of `[height, width]`, from that of its output. Nothing is tracked.
pub(crate) fn image_gradient(
    conv: &Conv,
    [height, width]: [usize; 2],
    weight: &Tensor<4>,
    y_gradient: &Tensor<4>,
) -> Tensor<4> {
    let ours = || {
        let geometry = Geometry::new(*conv, height, width)?;
        let (weight, y) = (contiguous(weight)?, contiguous(y_gradient)?);
        let gradient = kernel::image_gradient(&geometry, values(&weight), values(&y));
        let shape = [y_gradient.dims()[0], conv.inputs, height, width];
        Some(Tensor::from_primitive::<Flex>(tensor(gradient, shape)))
    };
    ours().unwrap_or_else(|| {
        // Rows and columns that no place of the kernel reached.
        let rest = |extent: usize| (extent + 2 * conv.padding - conv.kernel) % conv.stride;
        let rest = [rest(height), rest(width)];
        let options = ConvTransposeOptions::new([conv.stride; 2], [conv.padding; 2], rest, [1; 2], 1);
        conv_transpose2d(y_gradient.clone(), weight.clone(), None, options)
    })
}

/// Without gradients; `None` if the tensors are elsewhere.
fn plain(
    geometry: &Geometry,
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
) -> Option<Tensor<4>> {
    let (x, weight) = (contiguous(x)?, contiguous(weight)?);
    let bias = match bias {
        Some(bias) => Some(contiguous(bias)?),
        None => None,
    };
    let y = forward(geometry, &x, &weight, bias.as_ref().map(values))?;
    Some(Tensor::from_primitive::<Flex>(y))
}

/// With gradients; `None` if the tensors are elsewhere.
fn tracked(
    geometry: &Geometry,
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
) -> Option<Tensor<4>> {
    let x = x.clone().try_into_primitive::<Autodiff<Flex>>().ok()?;
    let weight = weight.clone().try_into_primitive::<Autodiff<Flex>>().ok()?;
    let y = forward(geometry, x.primitive(), weight.primitive(), None)?;
    let prepared = Convolution
        .prepare::<NoCheckpointing>([x.node(), weight.node()])
        .compute_bound()
        .stateful();
    let y = match prepared {
        OpsKind::Tracked(mut prepared) => {
            let state = (prepared.checkpoint(&x), prepared.checkpoint(&weight), *geometry);
            prepared.finish(state, y)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    let y = Tensor::from_primitive::<Autodiff<Flex>>(y);
    Some(match bias {
        Some(bias) => y + bias.clone().reshape([1, geometry.conv.outputs, 1, 1]),
        None => y,
    })
}

/// `None` if a tensor is not f32.
fn forward(
    geometry: &Geometry,
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&[f32]>,
) -> Option<FlexTensor> {
    let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
    let (images, weight) = (x.as_slice()?, weight.as_slice()?);
    let n = images.len() / geometry.input_len().max(1);
    let y = kernel::forward(geometry, images, weight, bias);
    let [height, width] = geometry.output();
    Some(tensor(y, [n, geometry.conv.outputs, height, width]))
}

/// The convolution as the framework's automatic differentiation sees it.
#[derive(Debug)]
struct Convolution;

impl Backward<Flex, 2> for Convolution {
    /// Where the images and the weights are, and the extents.
    type State = (NodeId, NodeId, Geometry);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let (x, weight, geometry) = ops.state;
        let [x_node, weight_node] = ops.parents;
        let y_gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let x: FlexTensor = checkpointer.retrieve_node_output(x);
        let weight: FlexTensor = checkpointer.retrieve_node_output(weight);
        let x_shape: [usize; 4] = x.layout().shape().dims();
        let weight_shape: [usize; 4] = weight.layout().shape().dims();
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        let y_gradient = values(&y_gradient);
        if let Some(node) = x_node {
            let gradient = kernel::image_gradient(&geometry, values(&weight), y_gradient);
            gradients.register::<Flex>(node.id, tensor(gradient, x_shape));
        }
        if let Some(node) = weight_node {
            let gradient = kernel::weight_gradient(&geometry, values(&x), y_gradient);
            gradients.register::<Flex>(node.id, tensor(gradient, weight_shape));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};

    /// Outputs and gradients of a batch with respect to images, weights and biases.
    fn all(conv: &Conv, framework: bool, inputs: &(Tensor<4>, Tensor<4>, Tensor<1>)) -> [Vec<f32>; 4] {
        let (x, weight) = (inputs.0.clone().require_grad(), inputs.1.clone().require_grad());
        let bias = inputs.2.clone().require_grad();
        let (b, options) = (Some(bias.clone()), options(conv));
        let y = if framework {
            conv2d(x.clone(), weight.clone(), b, options)
        } else {
            convolve(conv, x.clone(), weight.clone(), b)
        };
        let mut gradients = (y.clone() * y.clone()).sum().backward();
        let x = x.grad_remove(&mut gradients).expect("images are tracked");
        let weight = weight.grad_remove(&mut gradients).expect("weights are tracked");
        let bias = bias.grad_remove(&mut gradients).expect("biases are tracked");
        [y.into_data(), x.into_data(), weight.into_data(), bias.into_data()]
            .map(|t| t.try_into_vec::<f32>().expect("f32"))
    }

    #[test]
    fn outputs_and_gradients_are_those_of_the_framework() {
        let device = Device::flex().autodiff();
        // Images, inputs, outputs, kernel, stride, padding, height, width: steps of one and others, kernels of one position,
        // much padding, more and fewer channels and positions than the products take at once.
        let cases = [
            [5, 16, 16, 3, 1, 1, 32, 32],
            [9, 3, 10, 3, 1, 1, 7, 9],
            [2, 7, 13, 1, 1, 0, 5, 3],
            [1, 1, 1, 1, 1, 0, 1, 1],
            [3, 2, 9, 5, 1, 0, 12, 28],
            [3, 4, 5, 5, 1, 4, 6, 17],
            [2, 3, 4, 2, 1, 3, 4, 5],
            [2, 6, 8, 3, 2, 1, 9, 8],
            [1, 3, 4, 7, 4, 2, 23, 19],
            [2, 2, 3, 4, 1, 0, 4, 4],
        ];
        for [n, i, o, kernel, stride, padding, height, width] in cases {
            let conv = Conv {
                inputs: i,
                outputs: o,
                kernel,
                stride,
                padding,
                bias: true,
            };
            let random = |dims| Tensor::<4>::random(dims, Distribution::Normal(0.0, 1.0), &device);
            let weight = random([o, i, kernel, kernel]);
            let bias = Tensor::random([o], Distribution::Normal(0.0, 1.0), &device);
            let inputs = (random([n, i, height, width]), weight, bias);
            let pairs = all(&conv, false, &inputs)
                .into_iter()
                .zip(all(&conv, true, &inputs));
            for (what, (ours, theirs)) in pairs.enumerate() {
                assert_eq!(ours.len(), theirs.len(), "{conv:?}: quantity {what}");
                let size = theirs.iter().fold(1.0f32, |m, x| m.max(x.abs()));
                for (a, b) in ours.iter().zip(&theirs) {
                    assert!(
                        (a - b).abs() < 1e-5 * size,
                        "{conv:?}: quantity {what}: {a} and {b}"
                    );
                }
            }
            // The same without gradients.
            let (x, weight, bias) = inputs;
            let plain = convolve(
                &conv,
                x.clone().inner(),
                weight.clone().inner(),
                Some(bias.clone().inner()),
            );
            let tracked = convolve(&conv, x, weight, Some(bias));
            let vec = |t: Tensor<4>| t.into_data().try_into_vec::<f32>().expect("f32");
            assert_eq!(vec(plain), vec(tracked), "{conv:?}");
        }
    }
}
