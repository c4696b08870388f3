//! Dependent quantization: which multiples of a step a tensor's symbols can stand for depends on those before.
//!
//! Two quantizers take turns: one has the even multiples, the other the odd ones and zero. A state says whose turn it is, and
//! goes on by the parity of the index within its quantizer. The coder `context` codes indices, and so twice as coarse a grid; to everybody else
//! the symbols are those of a grid. `docs/format.md`, "Trellis".
//!
//! # Source
//! T. R. Fischer, M. Wang, "Entropy-constrained trellis-coded quantization", 1992, on the trellis of 8 states of G. Ungerboeck, "Channel
//! coding with multilevel/phase signals", 1982; quantizers that share zero: H. Schwarz et al., "Hybrid video coding with trellis-coded
//! quantization", 2019.

/// Number of states.
pub const N_STATES: usize = 8;
/// Multiples other than zero below which symbols are not taken to lie on a trellis: fewer can do so by accident.
pub const FEWEST: usize = 24;

/// The state after an index: a feedback shift register, check polynomials 13 and 04 (octal).
#[inline]
pub const fn next(state: usize, index: i32) -> usize {
    let parity = index as usize & 1;
    (state >> 1) ^ (parity * 0b010) ^ ((state & 1) * 0b101)
}

/// The quantizer of a state: 0 or 1.
#[inline]
pub const fn quantizer(state: usize) -> usize {
    state & 1
}

/// The multiple of the step that an index, of magnitude below 2^30, of quantizer 0 or 1 stands for.
#[inline]
pub const fn multiple(quantizer: usize, index: i32) -> i32 {
    2 * index - index.signum() * quantizer as i32
}

/// The index of a multiple, if quantizer 0 or 1 has it.
#[inline]
pub const fn index(quantizer: usize, multiple: i32) -> Option<i32> {
    if multiple != 0 && (multiple & 1) as usize != quantizer {
        return None;
    }
    Some((multiple + multiple.signum() * quantizer as i32) >> 1)
}

/// The least state from which all these multiples can follow each other; `None` if there is none, or there are few.
pub(crate) fn start(multiples: &(impl Iterator<Item = i32> + Clone)) -> Option<usize> {
    let follows = |first: usize| {
        let mut state = first;
        let mut n_others = 0;
        for multiple in multiples.clone() {
            state = next(state, index(quantizer(state), multiple)?);
            n_others += usize::from(multiple != 0);
        }
        (n_others >= FEWEST).then_some(first)
    };
    (0..N_STATES).find_map(follows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_multiple_belongs_to_one_quantizer_and_zero_to_both() {
        for m in -9..=9 {
            let of = [0, 1].map(|q| index(q, m));
            assert_eq!(of.iter().flatten().count(), if m == 0 { 2 } else { 1 });
            for (q, index) in of.into_iter().enumerate() {
                assert!(index.is_none_or(|i| multiple(q, i) == m), "{m}");
            }
        }
        assert_eq!([0, 1, 2, 3].map(|i| multiple(0, i)), [0, 2, 4, 6]);
        assert_eq!([0, 1, 2, -3].map(|i| multiple(1, i)), [0, 1, 3, -5]);
    }

    #[test]
    fn two_indices_lead_from_each_state_and_two_to_each_and_paths_part_for_three() {
        let mut from = [0; N_STATES];
        for state in 0..N_STATES {
            let pair = [next(state, 0), next(state, -1)];
            assert_ne!(pair[0], pair[1]);
            for to in pair {
                from[to] += 1;
            }
            let step = |states: Vec<usize>| states.iter().flat_map(|&s| [next(s, 0), next(s, 1)]).collect();
            let (mut a, mut b): (Vec<_>, Vec<_>) = (vec![pair[0]], vec![pair[1]]);
            for _ in 0..2 {
                (a, b) = (step(a), step(b));
                assert!(a.iter().all(|s| !b.contains(s)), "{state}");
            }
        }
        assert_eq!(from, [2; N_STATES]);
    }

    #[test]
    fn the_first_state_of_a_path_is_found() {
        for first in 0..N_STATES {
            let mut state = first;
            let path: Vec<i32> = (0..200i32)
                .map(|i| {
                    let index = (i * i * 7 + i / 3) % 5 - 2;
                    let multiple = multiple(quantizer(state), index);
                    state = next(state, index);
                    multiple
                })
                .collect();
            let found = start(&path.iter().copied()).unwrap();
            assert!(found == first, "{found} {first}");
            let off = path.iter().map(|&m| if m == 0 { 0 } else { m + 1 });
            assert_eq!(start(&off), None);
        }
        assert_eq!(start(&[0; 500].into_iter()), None);
    }
}
