//! The cheapest path through a trellis at given prices.

use super::machine::{MAX_STATES, N_QUANTIZERS, States, about, candidates, multiple, quantizer};
use crate::source::Source;

/// Indices further from zero share the price of the furthest.
const MAX_INDEX: i32 = 1 << 11;
/// What an index that has not occurred counts.
const UNSEEN: f64 = 0.1;

/// Bits of each quantizer's indices.
pub(super) struct Prices([Vec<f32>; N_QUANTIZERS]);

impl Prices {
    /// Ideal code lengths of the frequencies of each quantizer's indices.
    pub(super) fn of(indices: [&Vec<i32>; N_QUANTIZERS]) -> Self {
        Prices(indices.map(|indices| {
            let mut counts = vec![UNSEEN; 2 * MAX_INDEX as usize + 1];
            for index in indices {
                counts[place(*index)] += 1.0;
            }
            let total: f64 = indices.len() as f64 + UNSEEN;
            counts
                .iter()
                .map(|c| (total / c).log2().max(0.0) as f32)
                .collect()
        }))
    }

    fn bits(&self, quantizer: usize, index: i32) -> f64 {
        self.0[quantizer][place(index)].into()
    }
}

fn place(index: i32) -> usize {
    (index.clamp(-MAX_INDEX, MAX_INDEX) + MAX_INDEX) as usize
}

/// The index of each parity of a quantizer that is cheapest for a weight, with its cost.
fn choices(prices: &Prices, quantizer: usize, at: f64, per_square: f64, slope: f64) -> [(i32, f64); 2] {
    about(quantizer, at).map(|nearest| {
        let mut best = (0, f64::INFINITY);
        for index in candidates(nearest) {
            let off = at - multiple(quantizer, index) as f64;
            let cost = per_square * off * off + slope * prices.bits(quantizer, index);
            if cost < best.1 {
                best = (index, cost);
            }
        }
        best
    })
}

/// How a state was reached: from where, and with which index.
#[derive(Clone, Copy, Default)]
struct Arrival {
    from: u8,
    index: i16,
}

/// The indices of least cost, by dynamic programming over the states (A. J. Viterbi, 1967).
pub(super) fn best_path(source: &Source, step: f32, slope: f64, states: States, prices: &Prices) -> Vec<i32> {
    let n_states = states.count();
    let mut costs = [f64::INFINITY; MAX_STATES];
    costs[0] = 0.0;
    let mut arrivals = vec![[Arrival::default(); MAX_STATES]; source.len()];
    let step = f64::from(step);
    for (i, arrivals) in arrivals.iter_mut().enumerate() {
        let at = f64::from(source.weights[i]) / step;
        let per_square = 0.5 * f64::from(source.h.at(i)) * step * step;
        let choices = [0, 1].map(|quantizer| choices(prices, quantizer, at, per_square, slope));
        let mut next = [f64::INFINITY; MAX_STATES];
        for state in 0..n_states {
            for (odd, (index, cost)) in [false, true].into_iter().zip(choices[quantizer(state)]) {
                let to = states.next(state, odd);
                let cost = costs[state] + cost;
                if cost < next[to] {
                    next[to] = cost;
                    arrivals[to] = Arrival {
                        from: state as u8,
                        index: index.clamp(i16::MIN.into(), i16::MAX.into()) as i16,
                    };
                }
            }
        }
        costs = next;
    }
    let last = (0..n_states).min_by(|&a, &b| costs[a].total_cmp(&costs[b]));
    let mut state = last.unwrap_or(0);
    let mut indices = vec![0; source.len()];
    for (index, arrivals) in indices.iter_mut().zip(&arrivals).rev() {
        let arrival = arrivals[state];
        *index = arrival.index.into();
        state = arrival.from.into();
    }
    indices
}
