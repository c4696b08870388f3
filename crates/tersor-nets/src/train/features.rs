//! What a network makes of a batch on the way to its answers: hints for one that is to become alike (Romero et al., 2015).

use crate::Result;
use crate::examples::Batch;
use crate::gradient::to_vec;
use crate::graph::{BatchStatistics, Node, Observer, Op, Value};
use crate::sensitivity::select;
use burn::tensor::Tensor;

/// Outputs of all activation functions that are not zero everywhere, in the order of nodes, without padding.
pub(super) struct Features {
    all: Vec<Feature>,
    /// Rows of sequences that are no padding, if there is some.
    filled: Option<Vec<i32>>,
}

impl Features {
    /// None yet of a batch.
    pub(super) fn of(batch: &Batch) -> Self {
        Self {
            all: Vec::new(),
            filled: batch.filled_rows(),
        }
    }
}

/// Output of one activation function.
struct Feature {
    node: usize,
    values: Tensor<1>,
    /// Their squares.
    energy: f32,
}

/// The output of an activation function, flat; of sequences the rows that are filled, or all.
fn activations(node: &Node, output: &Value, filled: Option<&[i32]>) -> Option<Tensor<1>> {
    if !matches!(node.op, Op::Relu | Op::Silu) {
        return None;
    }
    let n = output.dims().iter().product::<usize>();
    match output.clone() {
        Value::Image(t) => Some(t.reshape([n])),
        Value::Vectors(t) => Some(t.reshape([n])),
        Value::Sequence(t) => {
            let [b, l, d] = t.dims();
            let rows = t.reshape([b * l, d]);
            let rows = match filled {
                Some(filled) => select(rows, filled),
                None => rows,
            };
            let [n, d] = rows.dims();
            Some(rows.reshape([n * d]))
        }
        Value::Tokens(_) => None,
    }
}

impl Observer for Features {
    fn node(&mut self, index: usize, node: &Node, _: &[&Value], output: Value) -> Result<Value> {
        if let Some(values) = activations(node, &output, self.filled.as_deref()) {
            let energy = to_vec(values.clone().square().sum())?;
            let energy = energy.first().copied().unwrap_or_default();
            if energy > 0.0 {
                self.all.push(Feature {
                    node: index,
                    values,
                    energy,
                });
            }
        }
        Ok(output)
    }
}

/// Compares features while a network runs: what they differ by is part of its loss.
pub(crate) struct Compare<'a> {
    wanted: Option<(&'a Features, f32)>,
    /// Sees everything else.
    observer: &'a mut dyn Observer,
    loss: Option<Tensor<1>>,
}

impl<'a> Compare<'a> {
    /// With features that are wanted and their weight.
    pub(super) fn new(wanted: Option<(&'a Features, f32)>, observer: &'a mut dyn Observer) -> Self {
        Self {
            wanted,
            observer,
            loss: None,
        }
    }
}

impl Observer for Compare<'_> {
    fn node(&mut self, index: usize, node: &Node, inputs: &[&Value], output: Value) -> Result<Value> {
        let output = self.observer.node(index, node, inputs, output)?;
        if let Some((features, weight)) = self.wanted
            && let Some(wanted) = features.all.iter().find(|wanted| wanted.node == index)
            && let Some(own) = activations(node, &output, features.filled.as_deref())
        {
            // The derivative of half the squared difference, over the energy.
            let weight = weight / features.all.len() as f32 / wanted.energy;
            let gradient = (own.clone().inner() - wanted.values.clone()) * weight;
            let loss = (own * gradient.autodiff()).sum();
            self.loss = Some(match self.loss.take() {
                Some(others) => others + loss,
                None => loss,
            });
        }
        Ok(output)
    }

    fn statistics(&mut self, index: usize, statistics: BatchStatistics) {
        self.observer.statistics(index, statistics);
    }

    fn loss(&mut self) -> Option<Tensor<1>> {
        self.loss.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::BatchInput;
    use crate::gradient::backward;
    use crate::graph::{Builder, Input, Linear, Mode, Network, Unobserved, Weights};
    use crate::{Parameters, open_device};
    use tersor_data::Random;

    const WEIGHT: f32 = 6.0;

    fn network() -> Network {
        let mut b = Builder::new("two layers", Input::Image([1, 2, 2]));
        let mut x = b.flatten(0);
        for name in ["fc1", "fc2"] {
            let square = Linear {
                inputs: 4,
                outputs: 4,
                bias: true,
            };
            x = b.linear(name, x, square);
            x = b.relu(x);
        }
        b.finish()
    }

    fn features(network: &Network, weights: &Weights, batch: &Batch) -> Features {
        let mut features = Features::of(batch);
        let input = batch.to_device(weights.device());
        network
            .forward(weights, input, Mode::Evaluate, &mut features)
            .unwrap();
        features
    }

    /// The loss as documented.
    fn loss(own: &Features, wanted: &Features) -> f64 {
        let square = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        let one = |(own, wanted): (&Feature, &Feature)| {
            let difference = to_vec(own.values.clone() - wanted.values.clone()).unwrap();
            0.5 * square(&difference) / square(&to_vec(wanted.values.clone()).unwrap())
        };
        let pairs = own.all.iter().zip(&wanted.all);
        f64::from(WEIGHT) * pairs.map(one).sum::<f64>() / wanted.all.len() as f64
    }

    #[test]
    fn the_gradient_is_that_of_the_errors_of_activations() {
        let (network, device) = (network(), open_device("cpu").unwrap());
        let mut random = Random::new(3);
        let batch = Batch {
            input: BatchInput::Images((0..12).map(|_| random.normal()).collect(), [3, 1, 2, 2]),
            labels: vec![0; 3],
        };
        let weights = |p: &Parameters, tracked| Weights::new(p, &device, tracked);
        let wanted = features(
            &network,
            &weights(&Parameters::random(&network, 1), false),
            &batch,
        );
        assert_eq!(wanted.all.len(), 2);
        let own = Parameters::random(&network, 2);
        let at = |p: &Parameters| loss(&features(&network, &weights(p, false), &batch), &wanted);
        let of_nothing = |logits: &crate::loss::Logits| Ok(vec![0.0; logits.values.len()]);
        let tracked = weights(&own, true);
        let mut unobserved = Unobserved;
        let mut compare = Compare::new(Some((&wanted, WEIGHT)), &mut unobserved);
        let gradients = backward(
            &network,
            &tracked,
            &batch,
            Mode::Evaluate,
            &mut compare,
            of_nothing,
        )
        .unwrap();
        let mut largest = 0.0f64;
        for (parameter, gradient) in gradients.iter().enumerate() {
            for (i, &gradient) in gradient.iter().enumerate() {
                let moved = |by: f32| {
                    let mut p = own.clone();
                    p.values_mut(parameter)[i] += by;
                    at(&p)
                };
                let slope = (moved(1e-3) - moved(-1e-3)) / 2e-3;
                assert!((slope - f64::from(gradient)).abs() < 1e-2, "{slope} {gradient}");
                largest = largest.max(slope.abs());
            }
        }
        assert!(largest > 0.2, "{largest}");
    }
}
