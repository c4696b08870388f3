//! The states of a trellis and what they allow.

/// Number of states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum States {
    /// Four.
    Four,
    /// Eight.
    Eight,
}

/// The trellis of the coder `context`.
pub(crate) const CODED: States = States::Eight;

/// Most states.
pub(crate) const MAX_STATES: usize = 8;

/// Quantizers: one of the even multiples of the step, one of the odd ones and zero.
pub(crate) const N_QUANTIZERS: usize = 2;

impl States {
    /// How many.
    pub const fn count(self) -> usize {
        match self {
            States::Four => 4,
            States::Eight => 8,
        }
    }

    /// The state after an index of this parity.
    ///
    /// A systematic feedback encoder: the lowest bit of a state is its quantizer, and goes back in by the check polynomial 5 (octal) of four
    /// states and 13 of eight; the parity goes in by 2 and 4.
    #[inline]
    pub const fn next(self, state: usize, odd: bool) -> usize {
        let (input, feedback) = match self {
            States::Four => (0b01, 0b10),
            States::Eight => (0b010, 0b101),
        };
        let mut next = state >> 1;
        if odd {
            next ^= input;
        }
        if state & 1 == 1 {
            next ^= feedback;
        }
        next
    }
}

/// The quantizer of a state: 0 or 1.
#[inline]
pub const fn quantizer(state: usize) -> usize {
    state & 1
}

/// The multiple of the step that an index of a quantizer stands for.
#[inline]
pub const fn multiple(quantizer: usize, index: i32) -> i64 {
    2 * index as i64 - if quantizer == 1 { index.signum() as i64 } else { 0 }
}

/// The index of a multiple, if the quantizer has it.
#[inline]
pub const fn index(quantizer: usize, multiple: i32) -> Option<i32> {
    if multiple != 0 && (multiple & 1) as usize != quantizer {
        return None;
    }
    Some((multiple + multiple.signum() * quantizer as i32) >> 1)
}

/// Adding and subtracting 1.5 x 2^52 rounds to an integer, ties to even.
const MAGIC: f64 = 6_755_399_441_055_744.0;

/// The even and the odd index of a quantizer about a place, in multiples of the step. Each is the nearest of its parity, but that zero of the
/// second quantizer can be nearer than an even index, and is among its [`candidates`].
#[inline]
pub(crate) fn about(quantizer: usize, at: f64) -> [i32; 2] {
    // Indices of the second quantizer are half an index further from zero than those of the first.
    let place = if quantizer == 1 {
        f64::midpoint(at, at.signum())
    } else {
        0.5 * at
    };
    let nearest = (place + MAGIC) - MAGIC;
    let other = if place > nearest {
        nearest + 1.0
    } else {
        nearest - 1.0
    };
    let (nearest, other) = (nearest as i32, other as i32);
    if nearest % 2 == 0 {
        [nearest, other]
    } else {
        [other, nearest]
    }
}

/// What may be cheaper than the nearest index of its parity: the nearest itself, the next towards zero, and the one at zero.
#[inline]
pub(crate) fn candidates(nearest: i32) -> impl Iterator<Item = i32> {
    let inward = (nearest.abs() > 1).then_some(nearest - 2 * nearest.signum());
    let innermost = (nearest.abs() > 3).then_some(nearest.signum() * (nearest & 1));
    [Some(nearest), inward, innermost].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_two_followers_and_two_forerunners_and_paths_part_for_long() {
        for (states, constraint) in [(States::Four, 2), (States::Eight, 3)] {
            let n = states.count();
            for state in 0..n {
                let next = [false, true].map(|odd| states.next(state, odd));
                assert!(next[0] != next[1] && next.iter().all(|&s| s < n));
                let before = (0..n).flat_map(|s| [(s, false), (s, true)]);
                let before: Vec<_> = before.filter(|&(s, odd)| states.next(s, odd) == state).collect();
                assert_eq!(before.len(), 2);
                assert_eq!(quantizer(before[0].0), quantizer(before[1].0), "{state}");
                // Two paths that part meet again after as many steps as there are bits of state, or later.
                let mut apart = [vec![next[0]], vec![next[1]]];
                for _ in 1..constraint {
                    apart = apart.map(|states_now| {
                        let both = states_now
                            .iter()
                            .flat_map(|&s| [states.next(s, false), states.next(s, true)]);
                        both.collect()
                    });
                    assert!(apart[0].iter().all(|s| !apart[1].contains(s)), "{state}");
                }
            }
        }
    }

    #[test]
    fn the_quantizers_share_zero_and_halve_the_rest() {
        let multiples = |q| (-3..=3).map(|i| multiple(q, i)).collect::<Vec<_>>();
        assert_eq!(multiples(0), [-6, -4, -2, 0, 2, 4, 6]);
        assert_eq!(multiples(1), [-5, -3, -1, 0, 1, 3, 5]);
        for (q, i) in (0..2).flat_map(|q| (-3..=3).map(move |i| (q, i))) {
            let at = multiple(q, i) as i32;
            assert_eq!(index(q, at), Some(i));
            assert_eq!(index(1 - q, at).is_some(), at == 0);
        }
    }

    #[test]
    fn the_nearest_of_each_parity_is_a_candidate() {
        for (q, i) in (0..2).flat_map(|q| (-40..=40).map(move |i| (q, i))) {
            let at = 0.23 * f64::from(i) + 0.01;
            let off = |index: i32| (multiple(q, index) as f64 - at).abs();
            for (parity, nearest) in about(q, at).into_iter().enumerate() {
                assert_eq!((nearest & 1) as usize, parity);
                let of_parity = (-9..=9).filter(|index: &i32| (index & 1) as usize == parity);
                let least = of_parity.map(off).fold(f64::INFINITY, f64::min);
                let found = candidates(nearest).map(off).fold(f64::INFINITY, f64::min);
                assert_eq!(found, least, "{q} {at}");
            }
        }
        let all = |nearest| candidates(nearest).collect::<Vec<_>>();
        assert_eq!(
            [all(0), all(1), all(-2), all(3)],
            [vec![0], vec![1], vec![-2, 0], vec![3, 1]]
        );
        assert_eq!([all(-5), all(6)], [vec![-5, -3, -1], vec![6, 4, 0]]);
    }
}
