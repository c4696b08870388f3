//! Operations on vectors, sequences of them, and elements.

use super::{Mode, NodeWeights, Value};
use crate::Result;
use burn::tensor::{Distribution, Tensor, activation, module};

/// The same function for every kind of value but tokens.
macro_rules! each {
    ($value:expr, $t:ident => $body:expr) => {
        match $value {
            Value::Image($t) => Value::Image($body),
            Value::Vectors($t) => Value::Vectors($body),
            Value::Sequence($t) => Value::Sequence($body),
            Value::Tokens($t) => Value::Tokens($t.clone()),
        }
    };
}

/// x W^T + b; `None` for images and tokens.
pub(super) fn linear(x: &Value, parameters: &NodeWeights<'_>) -> Result<Option<Value>> {
    let weight = parameters.get::<2>(0)?.transpose();
    let bias = parameters.optional::<1>(1)?;
    Ok(match x {
        Value::Vectors(x) => Some(Value::Vectors(module::linear(x.clone(), weight, bias))),
        Value::Sequence(x) => Some(Value::Sequence(module::linear(x.clone(), weight, bias))),
        Value::Image(_) | Value::Tokens(_) => None,
    })
}

pub(super) fn relu(x: &Value) -> Value {
    match x {
        Value::Image(x) => Value::Image(crate::cpu::relu(x.clone())),
        x => each!(x, t => activation::relu(t.clone())),
    }
}

pub(super) fn silu(x: &Value) -> Value {
    each!(x, t => activation::silu(t.clone()))
}

/// Inverted dropout: what stays is scaled up.
pub(super) fn dropout(thousandths: u32, x: &Value, mode: Mode) -> Value {
    let keep = 1.0 - f64::from(thousandths.min(999)) / 1000.0;
    if mode == Mode::Evaluate || thousandths == 0 {
        return x.clone();
    }
    each!(x, t => {
        let mask = t.clone().detach().random_like(Distribution::Bernoulli(keep));
        t.clone() * mask.div_scalar(keep)
    })
}

/// `None` if the two are of different kinds.
pub(super) fn add(a: &Value, b: &Value) -> Option<Value> {
    Some(match (a, b) {
        (Value::Image(a), Value::Image(b)) => Value::Image(a.clone() + b.clone()),
        (Value::Vectors(a), Value::Vectors(b)) => Value::Vectors(a.clone() + b.clone()),
        (Value::Sequence(a), Value::Sequence(b)) => Value::Sequence(a.clone() + b.clone()),
        _ => return None,
    })
}

/// `None` if the two are of different kinds.
pub(super) fn multiply(a: &Value, b: &Value) -> Option<Value> {
    Some(match (a, b) {
        (Value::Image(a), Value::Image(b)) => Value::Image(a.clone() * b.clone()),
        (Value::Vectors(a), Value::Vectors(b)) => Value::Vectors(a.clone() * b.clone()),
        (Value::Sequence(a), Value::Sequence(b)) => Value::Sequence(a.clone() * b.clone()),
        _ => return None,
    })
}

pub(super) fn rms_norm(epsilon: f64, x: Tensor<3>, scale: Tensor<1>) -> Value {
    let rms = x.clone().square().mean_dim(2).add_scalar(epsilon).sqrt();
    Value::Sequence(x / rms * scale.unsqueeze())
}
