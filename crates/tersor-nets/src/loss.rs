//! Softmax and cross-entropy of logits in main memory, with the gradient that starts back-propagation.

use crate::examples::UNLABELLED;
use tersor_data::Random;

/// Gradients below this are zero: deeper in the network they would become denormal numbers, which are slow.
const NEGLIGIBLE: f32 = 1e-12;

fn flush(g: f32) -> f32 {
    if g.abs() < NEGLIGIBLE { 0.0 } else { g }
}

/// Logits of a batch, row after row.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    /// Row-major.
    pub values: Vec<f32>,
    /// Length of a row.
    pub classes: usize,
}

/// Loss and gradient of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct RowLosses {
    /// Nats of each labelled row, in order.
    pub losses: Vec<f32>,
    /// Whether the largest logit of each labelled row is the label's.
    pub correct: Vec<bool>,
}

impl RowLosses {
    /// Sum of nats.
    pub fn sum(&self) -> f64 {
        self.losses.iter().map(|&l| f64::from(l)).sum()
    }
}

/// Probabilities of one row of logits over a temperature; the return value is the logarithm of their sum before
/// normalisation.
pub fn softmax(row: &[f32], temperature: f32, probabilities: &mut Vec<f32>) -> f32 {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    probabilities.clear();
    probabilities.extend(row.iter().map(|&z| ((z - largest) / temperature).exp()));
    let sum: f32 = probabilities.iter().sum();
    for p in probabilities.iter_mut() {
        *p /= sum;
    }
    largest / temperature + sum.ln()
}

impl Logits {
    /// Rows.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.classes.max(1))
    }

    /// Cross-entropy of every labelled row, -ln p(label).
    pub fn losses(&self, labels: &[u32]) -> RowLosses {
        let mut p = Vec::new();
        let mut out = RowLosses {
            losses: Vec::new(),
            correct: Vec::new(),
        };
        for (row, &label) in self.rows().zip(labels).filter(|(_, l)| **l != UNLABELLED) {
            let log_sum = softmax(row, 1.0, &mut p);
            let own = row.get(label as usize).copied().unwrap_or(f32::NEG_INFINITY);
            out.losses.push(log_sum - own);
            let best =
                row.iter().enumerate().fold(
                    (0, f32::NEG_INFINITY),
                    |best, (i, &z)| {
                        if z > best.1 { (i, z) } else { best }
                    },
                );
            out.correct.push(best.0 == label as usize);
        }
        out
    }

    /// Gradient of `weight` x the sum of cross-entropies at a softmax temperature: weight (p - y) / temperature per
    /// labelled row, zero elsewhere. The factor 1 / temperature of the chain rule is included.
    pub fn gradient(&self, labels: &[u32], weight: f32, temperature: f32) -> Vec<f32> {
        let mut p = Vec::new();
        let mut gradient = Vec::with_capacity(self.values.len());
        for (row, &label) in self.rows().zip(labels) {
            if label == UNLABELLED {
                gradient.extend(row.iter().map(|_| 0.0));
                continue;
            }
            softmax(row, temperature, &mut p);
            gradient.extend(
                p.iter().enumerate().map(|(i, &p)| {
                    flush(weight * (p - f32::from(u8::from(i == label as usize))) / temperature)
                }),
            );
        }
        gradient
    }

    /// Gradient of `weight` x the sum of divergences of these logits from `other`'s, each over a temperature T, times T^2 as usual:
    /// weight T (p - q) per labelled row, zero elsewhere.
    pub fn gradient_towards(&self, other: &Self, labels: &[u32], weight: f32, temperature: f32) -> Vec<f32> {
        let (mut p, mut q) = (Vec::new(), Vec::new());
        let mut gradient = Vec::with_capacity(self.values.len());
        for ((own, wanted), &label) in self.rows().zip(other.rows()).zip(labels) {
            if label == UNLABELLED {
                gradient.extend(own.iter().map(|_| 0.0));
                continue;
            }
            softmax(own, temperature, &mut p);
            softmax(wanted, temperature, &mut q);
            gradient.extend(
                p.iter()
                    .zip(&q)
                    .map(|(p, q)| flush(weight * temperature * (p - q))),
            );
        }
        gradient
    }

    /// A label per row drawn from the softmax at a temperature; rows without a label in `labels` get none.
    pub fn sample(&self, labels: &[u32], temperature: f32, random: &mut Random) -> Vec<u32> {
        let mut p = Vec::new();
        let draw = |(row, &label): (&[f32], &u32)| {
            if label == UNLABELLED {
                return UNLABELLED;
            }
            softmax(row, temperature, &mut p);
            let mut left = f64::from(random.uniform());
            let found = p.iter().position(|&p| {
                left -= f64::from(p);
                left < 0.0
            });
            found.unwrap_or(p.len().saturating_sub(1)) as u32
        };
        self.rows().zip(labels).map(draw).collect()
    }

    /// Kullback-Leibler divergence of `other` from this, sum of p ln(p / q) in nats, for each labelled row.
    pub fn divergences(&self, other: &Self, labels: &[u32]) -> Vec<f32> {
        divergences(self.labelled(labels).zip(other.labelled(labels)))
    }

    /// Rows that have a label.
    pub fn labelled<'a>(&'a self, labels: &'a [u32]) -> impl Iterator<Item = &'a [f32]> {
        let pairs = self.rows().zip(labels);
        pairs.filter(|(_, l)| **l != UNLABELLED).map(|(row, _)| row)
    }
}

/// Kullback-Leibler divergence in nats of the second row of each pair of logits from the first, the original's.
pub fn divergences<'a>(pairs: impl Iterator<Item = (&'a [f32], &'a [f32])>) -> Vec<f32> {
    let (mut p, mut q) = (Vec::new(), Vec::new());
    let one = |(a, b): (&[f32], &[f32])| {
        let (log_a, log_b) = (softmax(a, 1.0, &mut p), softmax(b, 1.0, &mut q));
        let terms = p.iter().zip(a).zip(b);
        let sum: f64 = terms
            .map(|((&p, &a), &b)| f64::from(p) * f64::from((a - log_a) - (b - log_b)))
            .sum();
        sum.max(0.0) as f32
    };
    pairs.map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits() -> Logits {
        Logits {
            values: vec![1.0, 2.0, 0.5, -1.0, 0.0, 3.0],
            classes: 3,
        }
    }

    #[test]
    fn gradients_are_differences_of_losses() {
        let labels = [2, 0];
        let gradient = logits().gradient(&labels, 1.0, 1.0);
        for (i, &expected) in gradient.iter().enumerate() {
            let shifted = |by: f32| {
                let mut l = logits();
                l.values[i] += by;
                l.losses(&labels).sum()
            };
            let difference = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            assert!(
                (difference - f64::from(expected)).abs() < 1e-4,
                "{i}: {difference} {expected}"
            );
        }
    }

    #[test]
    fn gradients_towards_a_teacher_are_differences_of_divergences() {
        let (labels, temperature) = ([0, 0], 2.0);
        let teacher = Logits {
            values: vec![0.3, -1.0, 0.8, 2.0, 0.1, 0.0],
            classes: 3,
        };
        let tempered = |l: &Logits| Logits {
            values: l.values.iter().map(|v| v / temperature).collect(),
            classes: 3,
        };
        let divergence = |l: &Logits| -> f32 {
            let d = tempered(&teacher).divergences(&tempered(l), &labels);
            d.iter().sum::<f32>() * temperature * temperature
        };
        let gradient = logits().gradient_towards(&teacher, &labels, 1.0, temperature);
        for (i, expected) in gradient.iter().enumerate() {
            let shifted = |by: f32| {
                let mut l = logits();
                l.values[i] += by;
                divergence(&l)
            };
            let difference = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            assert!(
                (difference - expected).abs() < 1e-3,
                "{i}: {difference} {expected}"
            );
        }
    }

    #[test]
    fn unlabelled_rows_count_nowhere() {
        let labels = [UNLABELLED, 2];
        let l = logits();
        assert_eq!(l.losses(&labels).losses.len(), 1);
        assert_eq!(l.gradient(&labels, 1.0, 1.0)[..3], [0.0; 3]);
        let mut random = Random::new(1);
        assert_eq!(l.sample(&labels, 1.0, &mut random)[0], UNLABELLED);
    }

    #[test]
    fn drawn_labels_follow_the_softmax() {
        let l = logits();
        let mut random = Random::new(2);
        let mut counts = [0.0f32; 3];
        for _ in 0..20_000 {
            counts[l.sample(&[0, 0], 1.0, &mut random)[0] as usize] += 1.0 / 20_000.0;
        }
        let mut p = Vec::new();
        softmax(&l.values[..3], 1.0, &mut p);
        for (count, p) in counts.iter().zip(&p) {
            assert!((count - p).abs() < 0.012, "{count} {p}");
        }
    }

    #[test]
    fn a_divergence_is_zero_only_from_itself() {
        let (a, mut b) = (logits(), logits());
        assert!(a.divergences(&b, &[0, 0]).iter().all(|&d| d < 1e-6));
        b.values[0] += 1.0;
        let d = a.divergences(&b, &[0, 0]);
        assert!(d[0] > 0.01 && d[1] < 1e-6);
    }
}
