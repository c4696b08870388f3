//! Causal attention with rotary positions (Su et al., 2021) and grouped queries (Ainslie et al., 2023).

use super::Value;
use crate::graph::{Attention, RotaryLayout};
use burn::tensor::{Device, Tensor, TensorData, activation};

/// Cosines and sines `[1, 1, length, head_width / 2]`.
fn rotations(a: &Attention, length: usize, device: &Device) -> [Tensor<4>; 2] {
    let half = a.head_width / 2;
    let angle = |i: usize| {
        let (position, pair) = ((i / half) as f64, (i % half) as f64);
        position * a.rotary_base.powf(-2.0 * pair / a.head_width as f64)
    };
    [f64::cos, f64::sin].map(|f| {
        let values: Vec<f32> = (0..length * half).map(|i| f(angle(i)) as f32).collect();
        Tensor::from_data(TensorData::new(values, [1, 1, length, half]), device)
    })
}

/// Rotates pairs of dimensions of `[batch, heads, length, head_width]`.
fn rotate(x: Tensor<4>, layout: RotaryLayout, [cos, sin]: &[Tensor<4>; 2]) -> Tensor<4> {
    let dims = x.dims();
    let [batch, heads, length, width] = dims;
    let half = width / 2;
    // Both layouts become two halves on an axis of their own.
    let (pairs, axis) = match layout {
        RotaryLayout::Halves => (x.reshape([batch, heads, length, 2, half]), 3),
        RotaryLayout::Interleaved => (x.reshape([batch, heads, length, half, 2]), 4),
    };
    let part = |i: usize| {
        pairs
            .clone()
            .narrow(axis, i, 1)
            .reshape([batch, heads, length, half])
    };
    let (a, b) = (part(0), part(1));
    let first = a.clone() * cos.clone() - b.clone() * sin.clone();
    let second = a * sin.clone() + b * cos.clone();
    let wide = |t: Tensor<4>| -> Tensor<5> { t.unsqueeze_dim(axis) };
    Tensor::cat(vec![wide(first), wide(second)], axis).reshape(dims)
}

/// `[batch, length, heads * width]` as `[batch, heads, length, width]`.
fn split(x: Tensor<3>, heads: usize, width: usize) -> Tensor<4> {
    let [batch, length, _] = x.dims();
    x.reshape([batch, length, heads, width]).swap_dims(1, 2)
}

/// Repeats every head of keys or values for the queries that share it.
fn share(x: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, own, length, width] = x.dims();
    if own == heads {
        return x;
    }
    let wide: Tensor<5> = x.unsqueeze_dim(2);
    wide.repeat_dim(2, heads / own)
        .reshape([batch, heads, length, width])
}

pub(super) fn attention(a: &Attention, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>) -> Value {
    let [batch, length, _] = q.dims();
    let device = q.device();
    let rotations = rotations(a, length, &device);
    let q = rotate(split(q, a.heads, a.head_width), a.rotary_layout, &rotations);
    let k = rotate(split(k, a.key_heads, a.head_width), a.rotary_layout, &rotations);
    let (k, v) = (
        share(k, a.heads),
        share(split(v, a.key_heads, a.head_width), a.heads),
    );
    // What lies ahead is out of reach.
    let ahead: Vec<f32> = (0..length * length)
        .map(|i| if i % length > i / length { -1e30 } else { 0.0 })
        .collect();
    let ahead = Tensor::<4>::from_data(TensorData::new(ahead, [1, 1, length, length]), &device);
    let scores = q
        .matmul(k.swap_dims(2, 3))
        .div_scalar((a.head_width as f64).sqrt())
        + ahead;
    let mixed = activation::softmax(scores, 3).matmul(v);
    Value::Sequence(
        mixed
            .swap_dims(1, 2)
            .reshape([batch, length, a.heads * a.head_width]),
    )
}
