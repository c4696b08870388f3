//! Sensitivities from the second moments that an optimizer holds: what a training has measured already.
//!
//! Mean squared gradients of batches approximate the Fisher diagonal up to a factor (Choi, El-Khamy, Lee, "Towards the Limit of
//! Network Quantization", ICLR 2017, section 3.5, use their root in place of a Hessian). They are of the loss trained with, so an
//! L2 penalty given to `Adam` (not `AdamW`) as `weight_decay` is part of them.

mod matching;

use crate::checkpoint::{Checkpoint, Moment, TrainedParameter, TrainingCheckpoint, f32_tensor};
use crate::names::Names;
use crate::recorded::Recorded;
use crate::{Error, Result};
use matching::Wanted;
use tersor_codec::TensorInfo;

/// Ends of the names of floating tensors that PyTorch's normalisation layers keep and that do not train.
const BUFFERS: [&str; 3] = ["running_mean", "running_var", "num_batches_tracked"];

/// Sensitivities of the parameters of an optimizer.
#[derive(Clone, Debug)]
pub struct OptimizerSensitivities {
    /// h by the names of the model, in the order of the optimizer.
    pub tensors: Vec<(TensorInfo, Vec<u8>)>,
    /// How they were measured.
    pub recorded: Recorded,
    /// Parameters without sensitivities: never stepped, or not in the model.
    pub left_out: Vec<String>,
}

/// The second moments of an optimizer under the names of a model; their roots if `is_root`.
///
/// Where the training checkpoint names the parameters, names decide. Otherwise their order and shapes are matched with those of
/// the weights in the training checkpoint, or of `model` if there are none.
///
/// # Errors
/// [`Error::Optimizer`] if there are no second moments, a match is not certain, or a value is negative or not finite.
pub fn sensitivities(
    training: &TrainingCheckpoint,
    model: Option<&Checkpoint>,
    is_root: bool,
) -> Result<OptimizerSensitivities> {
    let stepped: Vec<(&TrainedParameter, &Moment)> = training
        .parameters
        .iter()
        .filter_map(|p| Some((p, p.moment.as_ref()?)))
        .collect();
    let Some(kind) = stepped.first().map(|(_, moment)| moment.kind) else {
        return Err(Error::Optimizer(
            "it holds no second moments of gradients (exp_avg_sq, square_avg or sum): Adam and its kin, RMSprop, Adadelta and \
             Adagrad have them after a step, other optimizers never"
                .into(),
        ));
    };
    let names = match stepped.iter().map(|(p, _)| p.name.clone()).collect() {
        Some(names) => names,
        None => matched_names(training, model)?,
    };
    let mut left_out: Vec<String> = training
        .parameters
        .iter()
        .filter(|p| p.moment.is_none())
        .map(|p| p.name.clone().unwrap_or_else(|| format!("parameter {}", p.label)))
        .collect();
    let known = model.or(training.weights.as_ref());
    let index = known.map(|model| Names::new(model.tensors().iter()));
    let mut tensors = Vec::new();
    for ((_, moment), name) in stepped.iter().zip(names) {
        let shape = training.shape(moment);
        let name = match (known, &index) {
            (Some(model), Some(index)) => {
                let Some(info) = index.find(&name).and_then(|i| model.tensors().get(i)) else {
                    left_out.push(name);
                    continue;
                };
                if info.shape != shape {
                    return Err(Error::Optimizer(format!(
                        "the moments of {name:?} have shape {shape:?}, the model's tensor {:?}: gather parts of parameters first",
                        info.shape
                    )));
                }
                info.name.clone()
            }
            _ => name,
        };
        let mut values = training.values(moment)?;
        if let Some(bad) = values.iter().find(|v| !(v.is_finite() && **v >= 0.0)) {
            return Err(Error::Optimizer(format!(
                "the moments of {name:?} hold {bad}; they must be finite and >= 0: the training has diverged, or the file is damaged"
            )));
        }
        if is_root {
            for v in &mut values {
                *v = v.sqrt();
            }
        }
        tensors.push(f32_tensor(name, shape.to_vec(), &values));
    }
    if tensors.is_empty() {
        return Err(Error::Optimizer(format!(
            "none of its parameters is in the model: it has {:?}",
            left_out.first().map_or("", String::as_str)
        )));
    }
    let steps = stepped.iter().map(|(_, moment)| moment.steps).max().unwrap_or(0);
    let recorded = Recorded {
        estimator: if is_root { "sqrt-optimizer" } else { "optimizer" }.into(),
        unit: "loss".into(),
        samples: 0,
        settings: vec![
            ("moment".into(), kind.into()),
            ("steps".into(), steps.to_string()),
        ],
    };
    Ok(OptimizerSensitivities {
        tensors,
        recorded,
        left_out,
    })
}

/// Names of the parameters that have moments, by order and shape.
fn matched_names(training: &TrainingCheckpoint, model: Option<&Checkpoint>) -> Result<Vec<String>> {
    let Some(model) = training.weights.as_ref().or(model) else {
        return Err(Error::Optimizer(
            "it numbers its parameters, and there are no weights beside it that would tell their names; give the model (--model)"
                .into(),
        ));
    };
    let candidates: Vec<&TensorInfo> = model
        .tensors()
        .iter()
        .enumerate()
        .filter(|&(i, info)| {
            let is_buffer = info
                .name
                .rsplit('.')
                .next()
                .is_some_and(|last| BUFFERS.contains(&last));
            info.dtype.is_float() && !is_buffer && model.alias_of(i).is_none()
        })
        .map(|(_, info)| info)
        .collect();
    let wanted: Vec<Wanted<'_>> = training
        .parameters
        .iter()
        .map(|p| Wanted {
            label: &p.label,
            group: p.group,
            shape: p.moment.as_ref().map(|moment| training.shape(moment)),
        })
        .collect();
    let found = matching::find(&wanted, &candidates, model.is_ordered())?;
    let names = found.into_iter().flatten().filter_map(|t| candidates.get(t));
    Ok(names.map(|info| info.name.clone()).collect())
}
