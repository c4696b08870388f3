//! Tensors in main memory as slices.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, TensorData};

/// A tensor without gradients and without gaps; `None` if it is elsewhere or not f32.
pub(super) fn contiguous<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?.to_contiguous();
    tensor.as_slice::<f32>().is_some().then_some(tensor)
}

/// A tensor of values, neighbours along the last extent side by side.
pub(super) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// Elements of a tensor without gaps; none if it is not f32.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}
