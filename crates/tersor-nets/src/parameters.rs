//! Parameters of a network in main memory, and their way from and to checkpoints.

use crate::graph::{Network, ParameterSpec, Role};
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;
use tersor::bare;
use tersor::checkpoint::{Checkpoint, f32_tensor};
use tersor_data::Random;

/// Values of all parameters, in the order of [`Network::parameters`].
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    network: String,
    specs: Arc<[ParameterSpec]>,
    values: Vec<Vec<f32>>,
}

/// What PyTorch counts and nobody needs.
fn is_ignored(name: &str) -> bool {
    name.ends_with("num_batches_tracked") || name.ends_with("rotary_emb.inv_freq")
}

impl Parameters {
    /// Values of all parameters of a network, in its order.
    pub(crate) fn new(network: &Network, values: Vec<Vec<f32>>) -> Self {
        Self {
            network: network.name.clone(),
            specs: network.parameters.clone().into(),
            values,
        }
    }

    /// Random weights by seed: normal with variance 2 / fan-in (He et al., 2015), embeddings with 0.02 as deviation,
    /// biases and shifts 0, scales and variances 1.
    pub fn random(network: &Network, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut normal = move |deviation: f32| deviation * random.normal();
        let values = network.parameters.iter().map(|spec| match spec.role {
            Role::Weight => {
                let fan_in: usize = spec.shape.iter().skip(1).product();
                let deviation = (2.0 / fan_in.max(1) as f32).sqrt();
                (0..spec.len()).map(|_| normal(deviation)).collect()
            }
            Role::Embedding => (0..spec.len()).map(|_| normal(0.02)).collect(),
            Role::Scale | Role::RunningVariance => vec![1.0; spec.len()],
            Role::Bias | Role::Shift | Role::RunningMean => vec![0.0; spec.len()],
        });
        Self::new(network, values.collect())
    }

    /// The parameters of a network, by name, with or without a leading `module.`; counters of batches and tables of
    /// rotary frequencies are passed over, and so is a copy of a tied embedding.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with all names that are missing, unexpected or of another shape.
    pub fn load(network: &Network, checkpoint: &Checkpoint) -> Result<Self> {
        let tensors = checkpoint.tensors();
        let by_name: HashMap<&str, usize> = tensors
            .iter()
            .enumerate()
            .map(|(i, t)| (bare(&t.name), i))
            .collect();
        let (mut missing, mut misshapen, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for spec in &network.parameters {
            let Some((at, info)) = by_name
                .get(spec.name.as_str())
                .and_then(|&at| Some((at, tensors.get(at)?)))
            else {
                missing.push(spec.name.clone());
                continue;
            };
            if !info
                .shape
                .iter()
                .eq(spec.shape.iter().map(|&n| n as u64).collect::<Vec<_>>().iter())
            {
                let (name, have, want) = (&spec.name, &info.shape, &spec.shape);
                misshapen.push(format!("{name} has {have:?}, the network {want:?}"));
                continue;
            }
            if !info.dtype.is_float() {
                misshapen.push(format!("{} is of type {}", spec.name, info.dtype));
                continue;
            }
            values.push(checkpoint.to_f32(at)?.into_owned());
        }
        let has_head = network.parameter("lm_head.weight").is_some();
        let mut unexpected: Vec<String> = by_name
            .keys()
            .filter(|name| network.parameter(name).is_none() && !is_ignored(name))
            .filter(|&&name| has_head || name != "lm_head.weight")
            .map(|name| (*name).to_owned())
            .collect();
        unexpected.sort_unstable();
        if missing.is_empty() && unexpected.is_empty() && misshapen.is_empty() {
            Ok(Self::new(network, values))
        } else {
            Err(Error::Mismatch {
                network: network.name.clone(),
                missing,
                unexpected,
                misshapen,
            })
        }
    }

    /// As f32 tensors under PyTorch's names.
    ///
    /// # Errors
    /// None that a network can cause.
    pub fn to_checkpoint(&self) -> Result<Checkpoint> {
        let tensors = self.specs.iter().zip(&self.values).map(|(spec, values)| {
            let shape = spec.shape.iter().map(|&n| n as u64).collect();
            f32_tensor(spec.name.clone(), shape, values)
        });
        Ok(Checkpoint::from_tensors(
            tensors.collect(),
            Vec::new(),
            Vec::new(),
        )?)
    }

    /// Names, shapes and roles.
    pub fn specs(&self) -> &[ParameterSpec] {
        &self.specs
    }

    /// Values of parameter `index` in row-major order; empty beyond the last.
    pub fn values(&self, index: usize) -> &[f32] {
        self.values.get(index).map_or(&[], Vec::as_slice)
    }

    /// Values of parameter `index`, to change.
    pub fn values_mut(&mut self, index: usize) -> &mut [f32] {
        self.values.get_mut(index).map_or(&mut [], Vec::as_mut_slice)
    }

    /// Specs with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&ParameterSpec, &[f32])> {
        self.specs.iter().zip(self.values.iter().map(Vec::as_slice))
    }

    /// Specs with their values, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&ParameterSpec, &mut [f32])> {
        self.specs
            .iter()
            .zip(self.values.iter_mut().map(Vec::as_mut_slice))
    }
}
