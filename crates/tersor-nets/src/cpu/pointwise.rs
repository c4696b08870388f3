//! Rectified linear units on all threads.

use super::host::{contiguous, tensor, values};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Tensor, activation};
use rayon::prelude::*;

/// Elements that one thread takes at a time.
const PART: usize = 1 << 15;

/// max(x, 0); what is not a number stays so.
pub(crate) fn relu(x: Tensor<4>) -> Tensor<4> {
    plain(&x)
        .or_else(|| tracked(&x))
        .unwrap_or_else(|| activation::relu(x))
}

/// Without gradients; `None` if the tensor is elsewhere.
fn plain(x: &Tensor<4>) -> Option<Tensor<4>> {
    let y = tensor(forward(values(&contiguous(x)?)), x.dims());
    Some(Tensor::from_primitive::<Flex>(y))
}

/// With gradients; `None` if the tensor is elsewhere.
fn tracked(x: &Tensor<4>) -> Option<Tensor<4>> {
    let shape = x.dims();
    let x = x.clone().try_into_primitive::<Autodiff<Flex>>().ok()?;
    let y = tensor(forward(x.primitive().to_contiguous().as_slice()?), shape);
    let prepared = Relu
        .prepare::<NoCheckpointing>([x.node()])
        .compute_bound()
        .stateful();
    let y = match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(y.clone(), y),
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
}

fn forward(x: &[f32]) -> Vec<f32> {
    let mut result = vec![0.0; x.len()];
    let parts = result.par_chunks_mut(PART).zip(x.par_chunks(PART));
    parts.for_each(|(y, x)| {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = if x > 0.0 || x.is_nan() { x } else { 0.0 };
        }
    });
    result
}

/// The gradient where the output is not zero.
fn backward(output: &[f32], gradient: &[f32]) -> Vec<f32> {
    let mut result = vec![0.0; output.len()];
    let parts = result.par_chunks_mut(PART).zip(output.par_chunks(PART));
    parts
        .zip(gradient.par_chunks(PART))
        .for_each(|((result, output), gradient)| {
            for ((x, &y), &g) in result.iter_mut().zip(output).zip(gradient) {
                *x = if y > 0.0 || y.is_nan() { g } else { 0.0 };
            }
        });
    result
}

/// The unit as the framework's automatic differentiation sees it.
#[derive(Debug)]
struct Relu;

impl Backward<Flex, 1> for Relu {
    /// What came out.
    type State = FlexTensor;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [node] = ops.parents;
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        if let Some(node) = node {
            let shape: [usize; 4] = ops.state.layout().shape().dims();
            let gradient = backward(values(&ops.state), values(&gradient));
            gradients.register::<Flex>(node.id, tensor(gradient, shape));
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
        let x = Tensor::<4>::random([3, 5, 61, 60], Distribution::Normal(0.0, 1.0), &device);
        let both = [relu as fn(Tensor<4>) -> Tensor<4>, activation::relu].map(|relu| {
            let x = x.clone().require_grad();
            let y = relu(x.clone());
            let mut gradients = (y.clone() * y.clone() * x.clone()).sum().backward();
            let gradient = x.grad_remove(&mut gradients).expect("x is tracked");
            [y.into_data(), gradient.into_data()].map(|t| t.try_into_vec::<f32>().expect("f32"))
        });
        assert_eq!(both[0], both[1]);
        let plain = relu(x.clone().inner()).into_data().try_into_vec::<f32>();
        assert_eq!(plain.expect("f32"), both[1][0]);
    }
}
