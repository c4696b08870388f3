//! Convolutions as products with matrices of patches.

use super::kernel::{IMAGES_PER_SUM, total};
use super::matrix::{Matrix, multiply};
use super::patches::Geometry;
use rayon::prelude::*;
use std::cell::Cell;

thread_local! {
    /// Patches of an image: kept, because memory that is asked for anew has to be cleared by the system.
    static PATCHES: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Gives `f` memory for a matrix of patches, with whatever was left there.
fn with_patches<T>(geometry: &Geometry, f: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut buffer = PATCHES.take();
    let len = geometry.patch_len() * geometry.positions();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    let result = f(&mut buffer[..len]);
    PATCHES.set(buffer);
    result
}

/// `f` with the matrix of patches of an image.
fn with_patches_of<T>(geometry: &Geometry, image: &[f32], f: impl FnOnce(Matrix<'_>) -> T) -> T {
    let (rows, columns) = (geometry.patch_len(), geometry.positions());
    with_patches(geometry, |patches| {
        geometry.unfold(image, patches);
        f(Matrix::new(patches, rows, columns))
    })
}

pub(super) fn forward(geometry: &Geometry, images: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let n = images.len() / geometry.input_len().max(1);
    let mut outputs = vec![0.0; n * geometry.output_len()];
    let weight = Matrix::new(weight, geometry.conv.outputs, geometry.patch_len());
    let positions = geometry.positions();
    let pairs = outputs.par_chunks_mut(geometry.output_len().max(1));
    pairs
        .zip(images.par_chunks(geometry.input_len().max(1)))
        .for_each(|(output, image)| {
            if let Some(bias) = bias {
                let channels = output.chunks_mut(positions.max(1)).zip(bias);
                channels.for_each(|(channel, bias)| channel.fill(*bias));
            }
            with_patches_of(geometry, image, |patches| {
                multiply(output, bias.is_some(), weight, patches);
            });
        });
    outputs
}

pub(super) fn image_gradient(geometry: &Geometry, weight: &[f32], gradients: &[f32]) -> Vec<f32> {
    let n = gradients.len() / geometry.output_len().max(1);
    let mut images = vec![0.0; n * geometry.input_len()];
    let (outputs, positions) = (geometry.conv.outputs, geometry.positions());
    let weight = Matrix::new(weight, outputs, geometry.patch_len()).transposed();
    let pairs = images.par_chunks_mut(geometry.input_len().max(1));
    pairs
        .zip(gradients.par_chunks(geometry.output_len().max(1)))
        .for_each(|(image, gradient)| {
            let gradient = Matrix::new(gradient, outputs, positions);
            with_patches(geometry, |patches| {
                multiply(patches, false, weight, gradient);
                geometry.fold(patches, image);
            });
        });
    images
}

pub(super) fn weight_gradient(geometry: &Geometry, images: &[f32], gradients: &[f32]) -> Vec<f32> {
    let (input_len, output_len) = (geometry.input_len().max(1), geometry.output_len().max(1));
    let (outputs, positions) = (geometry.conv.outputs, geometry.positions());
    let parts = images.par_chunks(IMAGES_PER_SUM * input_len);
    let sums: Vec<Vec<f32>> = parts
        .zip(gradients.par_chunks(IMAGES_PER_SUM * output_len))
        .map(|(images, gradients)| {
            let mut sum = vec![0.0; outputs * geometry.patch_len()];
            for (image, gradient) in images.chunks(input_len).zip(gradients.chunks(output_len)) {
                let gradient = Matrix::new(gradient, outputs, positions);
                with_patches_of(geometry, image, |patches| {
                    multiply(&mut sum, true, gradient, patches.transposed());
                });
            }
            sum
        })
        .collect();
    total(sums, outputs * geometry.patch_len())
}
