//! Convolutions and their gradients on slices, images side by side on all threads.
//!
//! Where the kernel moves by one position at a time the image is its own matrix of patches (`sliding.rs`); elsewhere that matrix is
//! written out (`unfolded.rs`).

use super::patches::Geometry;
use super::sliding::Sliding;
use super::unfolded;

/// Outputs of all images, `[image, channel, position]`. `weight` is `[output, input, y, x]`.
pub(super) fn forward(geometry: &Geometry, images: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    match Sliding::new(geometry) {
        Some(sliding) => sliding.forward(images, weight, bias),
        None => unfolded::forward(geometry, images, weight, bias),
    }
}

/// Gradient with respect to the images, from that of the outputs.
pub(super) fn image_gradient(geometry: &Geometry, weight: &[f32], gradients: &[f32]) -> Vec<f32> {
    match Sliding::new(geometry) {
        Some(sliding) => sliding.image_gradient(weight, gradients),
        None => unfolded::image_gradient(geometry, weight, gradients),
    }
}

/// Gradient with respect to the weight, `[output, input, y, x]`, from that of the outputs.
pub(super) fn weight_gradient(geometry: &Geometry, images: &[f32], gradients: &[f32]) -> Vec<f32> {
    match Sliding::new(geometry) {
        Some(sliding) => sliding.weight_gradient(images, gradients),
        None => unfolded::weight_gradient(geometry, images, gradients),
    }
}

/// The sum of vectors of one length, in their order.
pub(super) fn total(sums: Vec<Vec<f32>>, len: usize) -> Vec<f32> {
    let mut sums = sums.into_iter();
    let mut total = sums.next().unwrap_or_else(|| vec![0.0; len]);
    for sum in sums {
        total.iter_mut().zip(sum).for_each(|(total, part)| *total += part);
    }
    total
}

/// Images whose gradients with respect to weights are added up in one sum; sums are then added in order, so that threads make
/// no difference.
pub(super) const IMAGES_PER_SUM: usize = 4;
