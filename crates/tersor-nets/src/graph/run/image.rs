//! Operations on images `[batch, channels, height, width]`.

use super::{BatchStatistics, Mode, NodeWeights, Value};
use crate::cpu::{convolve, normalize, scale_and_shift};
use crate::graph::{BatchNorm, Conv, Pool};
use crate::{Error, Result};
use burn::tensor::Tensor;
use burn::tensor::module::{adaptive_avg_pool2d, max_pool2d};
use burn::tensor::ops::MaxPoolOptions;

pub(super) fn conv(conv: &Conv, x: Tensor<4>, parameters: &NodeWeights<'_>) -> Result<Value> {
    let (weight, bias) = (parameters.get(0)?, parameters.optional(1)?);
    Ok(Value::Image(convolve(conv, x, weight, bias)))
}

pub(super) fn batch_norm(
    norm: &BatchNorm,
    x: Tensor<4>,
    parameters: &NodeWeights<'_>,
    mode: Mode,
) -> Result<(Value, Option<BatchStatistics>)> {
    let (scale, shift) = (parameters.get::<1>(0)?, parameters.get::<1>(1)?);
    match mode {
        Mode::Evaluate => {
            let (mean, variance) = (parameters.get::<1>(2)?, parameters.get::<1>(3)?);
            // One factor and one summand per channel: half the passes over the images.
            let factor = scale / variance.add_scalar(norm.epsilon).sqrt();
            let summand = shift - mean * factor.clone();
            Ok((Value::Image(scale_and_shift(x, factor, summand)), None))
        }
        Mode::Train => {
            let (y, statistics) = normalize(x, scale, shift, norm.epsilon);
            Ok((Value::Image(y), Some(statistics)))
        }
    }
}

pub(super) fn max_pool(pool: &Pool, x: Tensor<4>) -> Value {
    let options = MaxPoolOptions::new([pool.kernel; 2])
        .with_stride([pool.stride; 2])
        .with_ceil_mode(pool.ceil);
    Value::Image(max_pool2d(x, options))
}

pub(super) fn average_pool(size: usize, x: Tensor<4>) -> Value {
    let [_, _, h, w] = x.dims();
    if [h, w] == [size, size] {
        Value::Image(x)
    } else if size == 1 {
        Value::Image(x.mean_dims(&[2, 3]))
    } else {
        Value::Image(adaptive_avg_pool2d(x, [size, size]))
    }
}

pub(super) fn shortcut(channels: usize, x: Tensor<4>) -> Result<Value> {
    let old = x.dims()[1];
    let Some(new) = channels.checked_sub(old) else {
        return Err(Error::Input(format!(
            "a shortcut from {old} to {channels} channels"
        )));
    };
    // A window of one pixel takes every second one.
    let x = max_pool2d(x, MaxPoolOptions::new([1, 1]).with_stride([2, 2]));
    let [batch, _, h, w] = x.dims();
    let zeros = |n: usize| Tensor::<4>::zeros([batch, n, h, w], &x.device());
    let parts = [zeros(new / 2), x.clone(), zeros(new - new / 2)];
    let parts = parts.into_iter().filter(|p| p.dims()[1] > 0).collect();
    Ok(Value::Image(Tensor::cat(parts, 1)))
}
