//! A network without the units that nothing reads, on which a sparse one trains faster.

use super::units::{Group, Reader, groups};
use super::{column_ranges, counts, empty_producers, row_range};
use crate::Parameters;
use crate::gradient::Gradients;
use crate::graph::{Network, Op, ParameterSpec};

/// A network of the living units of another, and the way of values between the two.
///
/// A unit that nothing reads changes no output and has no gradient; what would read it are weights that are zero. Where those
/// stay zero, as while pruning, training the narrow network is training the whole one.
#[derive(Clone, Debug)]
pub(crate) struct Narrow {
    /// The same nodes, on fewer channels.
    pub(crate) network: Network,
    /// For each parameter the elements that it keeps; `None`: all.
    kept: Vec<Option<Vec<usize>>>,
}

impl Narrow {
    /// Leaves out what does not matter to these parameters; `None` if all of it does.
    pub(crate) fn new(network: &Network, parameters: &Parameters) -> Option<Self> {
        let groups = groups(network);
        let mut emptied = parameters.clone();
        let mut dead: Vec<Vec<bool>> = groups.iter().map(|g| vec![false; g.n]).collect();
        let mut changed = true;
        while std::mem::take(&mut changed) {
            for (group, dead) in groups.iter().zip(&mut dead) {
                for unit in 0..group.n {
                    // One unit stays, whatever it does: tensors without elements are no tensors.
                    let is_last = dead.iter().filter(|d| !**d).count() <= 1;
                    let done = dead.get(unit).copied().unwrap_or(true);
                    if done || is_last {
                        continue;
                    }
                    let [_, columns] = counts(network, group, &emptied, unit);
                    if columns > 0 {
                        continue;
                    }
                    empty_producers(network, group, &mut emptied, unit);
                    if let Some(slot) = dead.get_mut(unit) {
                        *slot = true;
                    }
                    changed = true;
                }
            }
        }
        if dead.iter().flatten().all(|d| !d) {
            return None;
        }
        let mut gone: Vec<Vec<bool>> = network.parameters.iter().map(|p| vec![false; p.len()]).collect();
        let mut specs = network.parameters.clone();
        for (group, dead) in groups.iter().zip(&dead) {
            for (unit, _) in dead.iter().enumerate().filter(|(_, dead)| **dead) {
                remove(network, group, unit, &mut specs, &mut gone);
            }
        }
        let kept = |gone: Vec<bool>| {
            let indices = || {
                (0..gone.len())
                    .zip(&gone)
                    .filter_map(|(i, gone)| (!gone).then_some(i))
            };
            gone.contains(&true).then(|| indices().collect())
        };
        Some(Self {
            network: narrowed(network, specs),
            kept: gone.into_iter().map(kept).collect(),
        })
    }

    /// The narrow network's parameters, of the whole one's.
    pub(crate) fn take(&self, whole: &Parameters) -> Parameters {
        let values = self.kept.iter().enumerate().map(|(i, kept)| {
            let values = whole.values(i);
            match kept {
                None => values.to_vec(),
                Some(kept) => kept.iter().filter_map(|&at| values.get(at)).copied().collect(),
            }
        });
        Parameters::new(&self.network, values.collect())
    }

    /// Puts what was observed, not trained, where it belongs in the whole network's parameters: running statistics.
    pub(crate) fn put_observed(&self, narrow: &Parameters, whole: &mut Parameters) {
        for (i, spec) in self.network.parameters.iter().enumerate() {
            if !spec.role.is_trainable() {
                self.spread(i, narrow.values(i), whole.values_mut(i));
            }
        }
    }

    /// Gradients of the whole network's parameters, of the narrow one's: zero for what it leaves out.
    pub(crate) fn gradients(&self, narrow: Gradients, whole: &Parameters) -> Gradients {
        let of = |(i, narrow): (usize, Vec<f32>)| {
            if narrow.is_empty() {
                return narrow;
            }
            let mut gradient = vec![0.0; whole.values(i).len()];
            self.spread(i, &narrow, &mut gradient);
            gradient
        };
        narrow.into_iter().enumerate().map(of).collect()
    }

    fn spread(&self, parameter: usize, narrow: &[f32], whole: &mut [f32]) {
        match self.kept.get(parameter) {
            Some(Some(kept)) => {
                for (&at, value) in kept.iter().zip(narrow) {
                    if let Some(slot) = whole.get_mut(at) {
                        *slot = *value;
                    }
                }
            }
            _ => whole
                .iter_mut()
                .zip(narrow)
                .for_each(|(whole, narrow)| *whole = *narrow),
        }
    }
}

/// Notes what belongs to a unit, and that shapes lose it.
fn remove(
    network: &Network,
    group: &Group,
    unit: usize,
    specs: &mut [ParameterSpec],
    gone: &mut [Vec<bool>],
) {
    let mut mark = |parameter: usize, range: std::ops::Range<usize>| {
        if let Some(gone) = gone.get_mut(parameter).and_then(|g| g.get_mut(range)) {
            gone.fill(true);
        }
    };
    let mut shrink = |parameter: usize, axis: usize, by: usize| {
        if let Some(extent) = specs.get_mut(parameter).and_then(|s| s.shape.get_mut(axis)) {
            *extent -= by.min(*extent);
        }
    };
    for &place in group.rows.iter().chain(&group.vectors) {
        mark(place.parameter, row_range(network, place, unit));
        shrink(place.parameter, 0, place.repeat);
    }
    for &Reader { place, .. } in &group.readers {
        column_ranges(network, place, unit).for_each(|range| mark(place.parameter, range));
        shrink(place.parameter, 1, place.repeat);
    }
}

/// The nodes of a network on parameters of these shapes.
fn narrowed(network: &Network, parameters: Vec<ParameterSpec>) -> Network {
    let mut narrow = network.clone();
    for node in &mut narrow.nodes {
        let shape = node.parameters.first().and_then(|&p| parameters.get(p));
        let shape = shape.map_or(&[][..], |p| p.shape.as_slice());
        match (&mut node.op, shape) {
            (Op::Conv(conv), &[outputs, inputs, ..]) => {
                (conv.inputs, conv.outputs) = (inputs, outputs);
            }
            (Op::Linear(linear), &[outputs, inputs]) => {
                (linear.inputs, linear.outputs) = (inputs, outputs);
            }
            (Op::BatchNorm(norm), &[channels]) => norm.channels = channels,
            _ => {}
        }
    }
    narrow.parameters = parameters;
    narrow
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Batch, BatchInput};
    use crate::gradient::mean_loss_gradients;
    use crate::graph::Weights;
    use crate::models::{lenet5, resnet};
    use crate::open_device;
    use tersor_data::Random;

    /// Random weights of which every third unit is read by none.
    fn with_dead_units(network: &Network) -> (Parameters, usize) {
        let mut parameters = Parameters::random(network, 1);
        let mut n = 0;
        for group in groups(network) {
            for unit in (0..group.n).step_by(3) {
                super::super::empty_consumers(network, &group, &mut parameters, unit);
                n += 1;
            }
        }
        (parameters, n)
    }

    #[test]
    fn gradients_of_what_is_left_are_those_of_the_whole_network() {
        for (network, shape) in [(lenet5(), [2, 1, 28, 28]), (resnet(20), [2, 3, 32, 32])] {
            let (parameters, n) = with_dead_units(&network);
            assert!(n > 10);
            let narrow = Narrow::new(&network, &parameters).unwrap();
            assert!(narrow.network.n_trainable() < network.n_trainable() * 3 / 4);
            let mut random = Random::new(5);
            let input = (0..shape.iter().product::<usize>())
                .map(|_| random.normal())
                .collect();
            let batch = Batch {
                input: BatchInput::Images(input, shape),
                labels: vec![3, 8],
            };
            let device = open_device("cpu").unwrap();
            let gradients = |network: &Network, parameters: &Parameters| {
                let weights = Weights::new(parameters, &device, true);
                mean_loss_gradients(network, &weights, &batch).unwrap()
            };
            let whole = gradients(&network, &parameters);
            let small = narrow.take(&parameters);
            let found = narrow.gradients(gradients(&narrow.network, &small), &parameters);
            for (i, (a, b)) in whole.iter().zip(&found).enumerate() {
                assert_eq!(a.len(), b.len());
                let scale = a.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
                let values = parameters.values(i).iter().zip(a.iter().zip(b));
                for (w, (a, b)) in values.filter(|(w, _)| **w != 0.0) {
                    assert!((a - b).abs() <= 1e-4 * scale, "{i}: {a} and {b} at {w}");
                }
            }
            let mut back = parameters.clone();
            for (i, spec) in network
                .parameters
                .iter()
                .enumerate()
                .filter(|(_, s)| !s.role.is_trainable())
            {
                assert_eq!(spec.len(), back.values(i).len());
                back.values_mut(i).fill(9.0);
            }
            narrow.put_observed(&small, &mut back);
            assert_eq!(narrow.take(&back), small);
        }
    }

    #[test]
    fn a_network_that_is_read_whole_stays_whole() {
        let network = lenet5();
        assert!(Narrow::new(&network, &Parameters::random(&network, 1)).is_none());
    }

    #[test]
    fn one_unit_of_each_group_stays() {
        let network = lenet5();
        let mut parameters = Parameters::random(&network, 1);
        for (_, values) in parameters.iter_mut() {
            values.fill(0.0);
        }
        let narrow = Narrow::new(&network, &parameters).unwrap();
        assert!(narrow.network.parameters.iter().all(|p| !p.is_empty()));
    }
}
