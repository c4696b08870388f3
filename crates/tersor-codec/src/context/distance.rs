//! A distance as a sequence of decisions: zero or not, the sign, then the magnitude by intervals that widen.

/// Decisions about the magnitude with a model of their own.
pub(super) const N_BINS: usize = 16;

/// Decision b asks whether the magnitude exceeds this: 0, 1, 2, 4, 6, 8, 12, 16, 24, ..., 256.
const THRESHOLDS: [u32; N_BINS] = {
    let mut thresholds = [0, 1, 2, 4, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut bin = 5;
    while bin < N_BINS {
        thresholds[bin] = 2 * thresholds[bin - 2];
        bin += 1;
    }
    thresholds
};

/// Takes decisions: when encoding those given, when decoding those read.
pub(super) trait Decisions {
    /// Whether the magnitude exceeds the threshold of a bin.
    fn exceeds(&mut self, bin: usize, given: bool) -> bool;

    /// Whether the distance is negative.
    fn is_negative(&mut self, given: bool) -> bool;

    /// A place of at most `most` in the interval below a bin's threshold: [`place`].
    fn place(&mut self, bin: usize, most: u32, given: u32) -> u32;
}

/// Distances that a symbol can have from the centre.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) below: u32,
    pub(super) above: u32,
}

impl Span {
    /// Indices of a quantizer of a trellis whose multiples are in this span.
    #[inline(always)]
    pub(super) fn of_quantizer(self, quantizer: usize) -> Self {
        let most = |multiple: u32| (multiple + quantizer as u32) >> 1;
        Self {
            below: most(self.below),
            above: most(self.above),
        }
    }

    /// Whether zero is all there is.
    #[inline(always)]
    pub(super) fn is_single(self) -> bool {
        self.below == 0 && self.above == 0
    }

    /// Whether a distance can occur.
    pub(super) fn contains(self, distance: i32) -> bool {
        distance.unsigned_abs() <= if distance < 0 { self.below } else { self.above }
    }
}

/// Passes a distance through decisions.
#[inline(always)]
pub(super) fn code(decisions: &mut impl Decisions, span: Span, given: i32) -> i32 {
    let size = given.unsigned_abs();
    if !decisions.exceeds(0, size > 0) {
        return 0;
    }
    let negative = span.below > 0 && (span.above == 0 || decisions.is_negative(given < 0));
    let mut most = if negative { span.below } else { span.above };
    let mut least = 1;
    let mut bin = 1;
    while let Some(&threshold) = THRESHOLDS.get(bin).filter(|&&t| t < most) {
        if !decisions.exceeds(bin, size > threshold) {
            most = threshold;
            break;
        }
        least = threshold + 1;
        bin += 1;
    }
    let magnitude = least
        + if most > least {
            decisions.place(bin, most - least, size.wrapping_sub(least))
        } else {
            0
        };
    if negative {
        -(magnitude as i32)
    } else {
        magnitude as i32
    }
}

/// Codes a place of at most `most` in an interval, highest bit first; a bit that would exceed is known to be 0. `bit` takes the one
/// given.
pub(super) fn place(most: u32, given: u32, mut bit: impl FnMut(bool) -> bool) -> u32 {
    let mut place = 0;
    for index in (0..=most.ilog2()).rev() {
        let with = place | 1 << index;
        if with <= most && bit(given >> index & 1 == 1) {
            place = with;
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the decisions given, or those on a list.
    struct List {
        bits: Vec<bool>,
        read: Option<usize>,
    }

    impl List {
        fn bit(&mut self, given: bool) -> bool {
            if let Some(at) = &mut self.read {
                *at += 1;
                return self.bits[*at - 1];
            }
            self.bits.push(given);
            given
        }
    }

    impl Decisions for List {
        fn exceeds(&mut self, _: usize, given: bool) -> bool {
            self.bit(given)
        }
        fn is_negative(&mut self, given: bool) -> bool {
            self.bit(given)
        }
        fn place(&mut self, _: usize, most: u32, given: u32) -> u32 {
            place(most, given, |given| self.bit(given))
        }
    }

    #[test]
    fn every_distance_of_every_span_comes_back_and_no_decision_is_superfluous() {
        let spans = [
            (0, 1),
            (1, 0),
            (3, 4),
            (5, 0),
            (0, 700),
            (300, 20),
            (40_000, 25_535),
        ];
        for (below, above) in spans {
            let span = Span { below, above };
            let step = ((below + above) / 4000).max(1) as usize;
            let mut complete = 0.0;
            for distance in (-(below as i32)..=above as i32).step_by(step) {
                let mut list = List {
                    bits: vec![],
                    read: None,
                };
                assert_eq!(code(&mut list, span, distance), distance);
                complete += f64::from(list.bits.len() as u32).exp2().recip();
                list.read = Some(0);
                assert_eq!(code(&mut list, span, 0), distance);
                assert_eq!(list.read, Some(list.bits.len()));
            }
            // Decisions form a complete binary tree: the sum over its leaves of 2^-depth is 1.
            assert!(step > 1 || complete == 1.0, "{below} {above}: {complete}");
        }
    }

    #[test]
    fn small_magnitudes_take_few_decisions() {
        let n = |distance| {
            let mut list = List {
                bits: vec![],
                read: None,
            };
            let span = Span {
                below: 1000,
                above: 1000,
            };
            code(&mut list, span, distance);
            list.bits.len()
        };
        // Zero; not zero, sign, not above 1; ...
        assert_eq!(
            [n(0), n(1), n(-2), n(3), n(4), n(5), n(300)],
            [1, 3, 4, 6, 6, 7, 27]
        );
    }
}
